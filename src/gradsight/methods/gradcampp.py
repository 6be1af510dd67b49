"""Grad-CAM++."""

from __future__ import annotations

from gradsight.arrays import positive, ratio, weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("gradcampp", title="Grad-CAM++", source="arXiv:1710.11063", alphas=True)
def gradcampp(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by its positive gradients, each by how few other positions share its effect (eq. 19).

    The paper's score is exp(S). Its powers of exp(S) leave a positive factor of the whole map, which is dropped: it
    overflows from S = 89 on. With g = dS/dA, alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + sum(A) g) where g is not 0.
    """
    total = ops.sum(probe.activations, axis=probe.spatial, keepdims=True)[:, None]
    # Only positive gradients weigh (the ReLU of eq. 15), so that the denominator is at least 2 for activations >= 0.
    gains = positive(probe.gradients, ops)
    weights = ops.sum(ratio(gains, 2 + total * gains, ops), axis=probe.spatial)
    return weighted_sum(weights, probe.activations, ops)
