"""The plain gradient."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method(
    "gradient",
    title="Vanilla gradient",
    source="arXiv:1312.6034",
    at="input",
    cost=lambda _channels, targets: 1 + targets,
)
def gradient(probe: Probe, ops: Ops) -> Array:
    """Take the magnitude of the score's gradient by each pixel, of the strongest colour channel (section 3.1)."""
    return strongest(probe.image.gradients, ops)


def strongest(gradients: Array, ops: Ops) -> Array:
    """The largest magnitude over the colour channels: (n, k, c, *s) -> (n, k, *s)."""
    return ops.max(ops.abs(gradients), axis=2)
