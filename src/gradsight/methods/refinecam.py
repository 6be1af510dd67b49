"""RefineCAM."""

from __future__ import annotations

from gradsight.combining import fused
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradcampp import gradcampp
from gradsight.registry import method


@method("refinecam", title="RefineCAM", source="arXiv:2605.14641", at="layers")
def refinecam(probe: Probe, ops: Ops) -> Array:
    """Multiply the Grad-CAM++ maps of several layers, each enlarged to the image's size and scaled to [0, 1]."""
    return fused([gradcampp(layer, ops) for layer in probe.layers], "product", probe, ops)
