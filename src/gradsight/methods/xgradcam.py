"""XGrad-CAM."""

from __future__ import annotations

from gradsight.arrays import ratio, weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("xgradcam", title="XGrad-CAM", source="arXiv:2008.02312", alphas=True)
def xgradcam(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by the mean of its gradients, weighted by its activations.

    A channel whose activations cancel each other gets no weight: the mean has no meaning there.
    """
    activations = probe.activations
    products = ops.sum(probe.gradients * activations[:, None], axis=probe.spatial)
    total = ops.sum(activations, axis=probe.spatial)
    # An exact 0 is rare in floats: what is left of a sum that cancels is rounding.
    cancelled = ops.abs(total) <= 1e-5 * ops.sum(ops.abs(activations), axis=probe.spatial)
    total = ops.where(cancelled, 0 * total, total)[:, None]
    return weighted_sum(ratio(products, total, ops), activations, ops)
