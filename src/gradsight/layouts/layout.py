"""A layout: which axis of a layer's output is what, and how its tokens fold to a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.foreign import Array, Ops


class AmbiguousLayout(ModelError):
    """A layer's output can be read as a map in more than one way."""


Grid = tuple[int, ...]
"""How many positions there are along each axis."""

ORDERS = ("channels_first", "channels_last", "tokens")
MOST_EXTRA_TOKENS = 16


@dataclass(frozen=True)
class Layout:
    """Which axis of a layer's output is what.

    Attributes:
        axes: the permutation that brings the output to (batch, channels, positions ...).
        grid: the positions, such as (7, 7).
        extra: tokens that are no position (class, register, distillation); the leading ones, without an ``order``.
        frames: how many rows of the output belong to one image, such as the frames of a video that goes through a
            network of pictures frame by frame, or the windows of an attention. ``axes`` then count them as an axis
            behind the batch. 0 where rows are images.
        order: for each cell of the grid, row by row, the number of its token; None if the tokens come in this order.
    """

    axes: tuple[int, ...]
    grid: tuple[int, ...]
    extra: int = 0
    frames: int = 0
    order: tuple[int, ...] | None = None

    def split(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of an output with the rows of an image as an axis of their own."""
        # Rows are images already.
        if not self.frames:
            return tuple(shape)
        return (shape[0] // self.frames, self.frames, *shape[1:])

    @property
    def is_channels_last(self) -> bool:
        """Whether an output is (n, *grid, channels), and nothing is folded."""
        plain = not (self.extra or self.frames or self.order) and len(self.axes) == len(self.grid) + 2
        return plain and self.axes == (0, len(self.axes) - 1, *range(1, len(self.axes) - 1))

    @property
    def channel_axis(self) -> int:
        """The axis of the output itself that holds its channels."""
        return self.axes[1] - bool(self.frames)

    def channels(self, shape: Sequence[int]) -> int:
        """How many channels an output of ``shape`` has."""
        return shape[self.channel_axis]

    def fold(self, array: Array, ops: Ops) -> Array:
        """Bring an output to (n, c, *grid); axes in front of the output's own, as in (k, n, ...), stay in front."""
        # Gradients have an axis for targets in front, which is carried along.
        lead = array.ndim - len(self.axes) + bool(self.frames)
        if self.frames:
            array = ops.reshape(array, (*array.shape[:lead], -1, self.frames, *array.shape[lead + 1 :]))
        # Channels come first where convolutions give them: then the axes are in order already.
        order = (*range(lead), *[lead + axis for axis in self.axes])
        moved = array if order == tuple(range(len(order))) else ops.permute_dims(array, order)
        # Nothing to fold: convolutions. No copy is made.
        if self.order is None and moved.shape[lead + 2 :] == self.grid:
            return moved
        tokens = ops.reshape(moved, (*moved.shape[: lead + 2], -1))
        if self.order is not None:
            tokens = _taken(tokens, self.order, ops)
        # Class and register tokens come first in every model that names no order.
        elif self.extra:
            tokens = tokens[..., self.extra :]
        return ops.reshape(tokens, (*tokens.shape[:-1], *self.grid))

    def unfold(self, folded: Array, like: Array, ops: Ops) -> Array:
        """Invert `fold`: (m, c, *grid) to the layer's own layout, with the extra tokens of ``like``."""
        sizes = self.split(like.shape)
        rest = tuple(sizes[axis] for axis in self.axes[2:])
        moved = folded
        # Only tokens have to be laid out again; a convolution has its grid as axes.
        if self.order is not None or rest != self.grid:
            tokens = ops.reshape(folded, (*folded.shape[:2], math.prod(self.grid)))
            moved = ops.reshape(self._with_extra(tokens, like, rest, ops), (*folded.shape[:2], *rest))
        raw = ops.permute_dims(moved, tuple(int(axis) for axis in np.argsort(self.axes)))
        return ops.reshape(raw, (-1, *raw.shape[2:])) if self.frames else raw

    def _with_extra(self, tokens: Array, like: Array, rest: tuple[int, ...], ops: Ops) -> Array:
        """Tokens in the order of the output; the extra ones are copied from ``like``."""
        count = math.prod(rest)
        order = range(self.extra, count) if self.order is None else self.order
        others = [i for i in range(count) if i not in set(order)] if len(order) < count else []
        if others:
            # All tokens in one row, the extra ones among them, to take the extra ones from the original output.
            flat = Layout(self.axes, (count,), frames=self.frames).fold(like, ops)
            tokens = ops.concat((_taken(flat, others, ops), tokens), axis=-1)
        if self.order is None:
            return tokens
        return _taken(tokens, np.argsort([*others, *order]), ops)


def _taken(tokens: Array, order: Sequence[int] | NDArray[np.intp], ops: Ops) -> Array:
    return ops.take(tokens, ops.asarray(np.asarray(order), device=getattr(tokens, "device", None)), axis=-1)


def image_layout(shape: Sequence[int]) -> Layout:
    """How an image that is given channels first is laid out: (n, channels, *positions).

    A video is (n, channels, frames, height, width), or (n, frames, channels, height, width) where only the latter
    makes the channels those of a grey or coloured picture, 1 or 3.
    """
    axes = list(range(len(shape)))
    colours = (1, 3)
    # A video has its frames before its channels in some libraries. Only the number of colours tells.
    if len(shape) == 5 and shape[2] in colours and shape[1] not in colours:
        axes[1:3] = [2, 1]
    return Layout(tuple(axes), tuple(shape[axis] for axis in axes[2:]))


def forced_layout(shape: Sequence[int], order: str | None, grid: Sequence[int] | None) -> Layout:
    """The layout that the user's ``layout`` and ``grid`` arguments describe, for an output of ``shape``."""
    rank = len(shape)
    order = order or ("tokens" if rank == 3 else "channels_first")
    if order not in ORDERS:
        raise InvalidArgument(f"`layout` must be one of {', '.join(ORDERS)}. {received(order)}")
    if order == "channels_first":
        return Layout(tuple(range(rank)), tuple(shape[2:]))
    if order == "channels_last":
        return Layout((0, rank - 1, *range(1, rank - 1)), tuple(shape[1:-1]))
    if rank != 3:
        raise InvalidArgument(f"`layout='tokens'` needs a layer output (n, tokens, channels); it is {tuple(shape)}.")
    # The usual case: a square image, cut into patches. Extra tokens are fewer than one more row and column.
    side = math.isqrt(shape[1])
    grid = tuple(grid) if grid is not None else (side, side)
    extra = shape[1] - math.prod(grid)
    if extra < 0:
        raise InvalidArgument(
            f"`grid` must hold at most the layer's {shape[1]} tokens. {received(grid)} It holds {math.prod(grid)}."
        )
    return Layout((0, 2, 1), grid, extra)


MIXED_ROWS = (
    "The model puts several inputs into one batch, so that rows are not images: let its forward call what they share "
    "once for each of them, or use a method that looks at the input, such as 'gradient' or 'occlusion'."
)


def only_layout(name: str, shape: Sequence[int], possible: Sequence[Layout], batch: int | None = None) -> Layout:
    """The one layout in ``possible``, or the error that says which argument decides it; ``batch`` images went in."""
    if len(possible) == 1:
        return possible[0]
    if not possible and batch is not None and len(shape) > 3 and shape[0] != batch:
        raise ModelError(f"layer {name!r} gives {shape[0]} rows for {batch} image(s). {MIXED_ROWS}")
    if not possible:
        raise ModelError(
            f"layer {name!r} gives an output of shape {tuple(shape)}, which has no positions to draw a map on. "
            "Name a layer before it (`gradsight layers` or `explainer.layers(batch)` lists them), or pass `layout=` "
            "and `grid=` if it has positions after all."
        )
    readings = "; ".join(f"grid={x.grid}, {x.extra} extra tokens" for x in possible)
    raise AmbiguousLayout(
        f"layer {name!r} gives an output of shape {tuple(shape)}, which can be read in more than one way: {readings}. "
        f"Pass `layout='tokens', grid={possible[0].grid}` (or another)."
    )
