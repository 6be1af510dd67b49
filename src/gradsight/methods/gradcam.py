"""Grad-CAM."""

from __future__ import annotations

from typing import Any

from gradsight.contracts import Probe
from gradsight.registry import method


@method("gradcam", title="Grad-CAM", source="arXiv:1610.02391")
def gradcam(probe: Probe, ops: Any) -> Any:
    """Weigh each channel by its mean gradient (eq. 1) and sum the channels (eq. 2, before its ReLU)."""
    weights = ops.mean(probe.gradients, axis=probe.spatial, keepdims=True)
    return ops.sum(weights * probe.activations[:, None], axis=2)
