"""XGrad-CAM."""

from __future__ import annotations

from typing import Any

from gradsight.arrays import ratio, weighted_sum
from gradsight.contracts import Probe
from gradsight.registry import method


@method("xgradcam", title="XGrad-CAM", source="arXiv:2008.02312")
def xgradcam(probe: Probe, ops: Any) -> Any:
    """Weigh each channel by the mean of its gradients, weighted by its activations (eq. 7).

    A channel whose activations sum to 0 gets no weight.
    """
    activations = probe.activations
    products = ops.sum(probe.gradients * activations[:, None], axis=probe.spatial)
    total = ops.sum(activations, axis=probe.spatial)[:, None]
    return weighted_sum(ratio(products, ops.broadcast_to(total, products.shape), ops), activations, ops)
