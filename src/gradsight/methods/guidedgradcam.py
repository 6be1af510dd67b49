"""Guided Grad-CAM."""

from __future__ import annotations

from gradsight.arrays import positive, resize
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradcam import gradcam
from gradsight.methods.guidedbackprop import guidedbackprop
from gradsight.registry import method


@method(
    "guidedgradcam",
    title="Guided Grad-CAM",
    source="arXiv:1610.02391",
    needs="rectifiers (ReLU, GELU, SiLU ...)",
    alphas=True,
    cost=lambda _channels, targets: 1 + targets,
    gradient="rectified",
)
def guidedgradcam(probe: Probe, ops: Ops) -> Array:
    """Multiply guided backpropagation with the enlarged Grad-CAM map, after its ReLU (section 3.2)."""
    # The fine map decides where exactly, the coarse one which object.
    size = probe.image.activations.shape[2:]
    return resize(positive(gradcam(probe, ops), ops), size, ops) * guidedbackprop(probe, ops)
