"""Deconvnet."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradient import strongest
from gradsight.registry import method


@method(
    "deconvnet",
    title="Deconvnet",
    source="arXiv:1311.2901",
    needs="rectifiers (ReLU, GELU, SiLU ...)",
    at="input",
    cost=lambda _channels, targets: 1 + targets,
    gradient="rectified",
)
def deconvnet(probe: Probe, ops: Ops) -> Array:
    """Take the gradient by each pixel with rectifiers applied to gradients alone; the strongest colour channel.

    Whatever rectifier went forward, ReLU goes back: the positive part of the gradient, and no derivative. What counts
    as a rectifier is the same as for 'guidedbackprop'.
    """
    return strongest(probe.image.rectified("deconvnet").gradients, ops)
