"""Grad-CAM."""

from __future__ import annotations

from gradsight.arrays import weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("gradcam", title="Grad-CAM", source="arXiv:1610.02391", alphas="averaged")
def gradcam(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by its mean gradient (eq. 1) and sum the channels (eq. 2, before its ReLU)."""
    return weighted_sum(probe.alphas, probe.activations, ops)
