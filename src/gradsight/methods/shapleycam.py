"""ShapleyCAM."""

from __future__ import annotations

from gradsight.arrays import weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method(
    "shapleycam",
    title="ShapleyCAM",
    source="arXiv:2501.06261",
    needs="second derivatives behind the layer",
    cost=lambda _channels, _targets: 2,
    alphas=True,
)
def shapleycam(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by the mean of gradient minus half of Hessian times activations, and sum the channels.

    The weights are Shapley values of the score's second-order Taylor expansion, with a channel's absence for a
    player's; where the rest of the model is piecewise linear the map is Grad-CAM's, and the second derivatives, which
    are zero there, are not computed.
    """
    slopes = probe.gradients - probe.curvature(probe.activations) / 2
    return weighted_sum(ops.mean(slopes, axis=probe.spatial), probe.activations, ops)
