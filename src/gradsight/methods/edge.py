"""A control: edges."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import control


@control("edge", title="Edges (control)", source="arXiv:1810.03292", at="input")
def edge(probe: Probe, ops: Ops) -> Array:
    """Take the length of the image's Sobel gradient, the same for every target: a map that looks like a reason is none.

    A method whose maps cannot be told from these shows the picture, not the model.
    """
    image = ops.mean(probe.image.activations, axis=1)
    axes = range(1, image.ndim)
    squares: Array = 0
    for along in axes:
        slope = image
        for axis in axes:
            slope = _filtered(slope, (-1, 0, 1) if axis == along else (1, 2, 1), axis, ops)
        squares = squares + slope**2
    return ops.broadcast_to(ops.sqrt(squares)[:, None], (*probe.scores.shape, *image.shape[1:]))


def _filtered(values: Array, kernel: tuple[int, int, int], axis: int, ops: Ops) -> Array:
    """Correlate along one axis with a kernel of three, the edges repeated."""
    moved = ops.moveaxis(values, axis, -1)
    padded = ops.concat((moved[..., :1], moved, moved[..., -1:]), axis=-1)
    length = moved.shape[-1]
    parts = (factor * padded[..., i : i + length] for i, factor in enumerate(kernel) if factor)
    return ops.moveaxis(sum(parts), -1, axis)
