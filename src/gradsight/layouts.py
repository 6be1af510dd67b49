"""Layouts: which axis of a layer's output is what, and how tokens fold to their grid."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
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
        order: for each cell of the grid, row by row, which token lies there; None where they come so.
    """

    axes: tuple[int, ...]
    grid: tuple[int, ...]
    extra: int = 0
    frames: int = 0
    order: tuple[int, ...] | None = None

    def split(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of an output with the rows of an image as an axis of their own."""
        if not self.frames:
            return tuple(shape)
        return (shape[0] // self.frames, self.frames, *shape[1:])

    @property
    def channel_axis(self) -> int:
        """The axis of the output itself that holds its channels."""
        return self.axes[1] - bool(self.frames)

    def channels(self, shape: Sequence[int]) -> int:
        """How many channels an output of ``shape`` has."""
        return shape[self.channel_axis]

    def fold(self, array: Array, ops: Ops) -> Array:
        """Bring an output to (n, c, *grid); axes in front of the output's own, as in (k, n, ...), stay in front."""
        lead = array.ndim - len(self.axes) + bool(self.frames)
        if self.frames:
            array = ops.reshape(array, (*array.shape[:lead], -1, self.frames, *array.shape[lead + 1 :]))
        moved = ops.permute_dims(array, (*range(lead), *(lead + axis for axis in self.axes)))
        if self.order is None and moved.shape[lead + 2 :] == self.grid:
            return moved
        tokens = ops.reshape(moved, (*moved.shape[: lead + 2], -1))
        if self.order is not None:
            tokens = _taken(tokens, self.order, ops)
        elif self.extra:
            tokens = tokens[..., self.extra :]
        return ops.reshape(tokens, (*tokens.shape[:-1], *self.grid))

    def unfold(self, folded: Array, like: Array, ops: Ops) -> Array:
        """Invert `fold`: (m, c, *grid) to the layer's own layout, with the extra tokens of ``like``."""
        sizes = self.split(like.shape)
        rest = tuple(sizes[axis] for axis in self.axes[2:])
        moved = folded
        if self.order is not None or rest != self.grid:
            tokens = ops.reshape(folded, (*folded.shape[:2], math.prod(self.grid)))
            moved = ops.reshape(self._with_extra(tokens, like, rest, ops), (*folded.shape[:2], *rest))
        raw = ops.permute_dims(moved, tuple(int(axis) for axis in np.argsort(self.axes)))
        return ops.reshape(raw, (-1, *raw.shape[2:])) if self.frames else raw

    def _with_extra(self, tokens: Array, like: Array, rest: tuple[int, ...], ops: Ops) -> Array:
        """Tokens in the order of the output, those that are no position as in ``like``."""
        count = math.prod(rest)
        order = range(self.extra, count) if self.order is None else self.order
        others = [i for i in range(count) if i not in set(order)] if len(order) < count else []
        if others:
            flat = Layout(self.axes, (count,), frames=self.frames).fold(like, ops)
            tokens = ops.concat((_taken(flat, others, ops), tokens), axis=-1)
        if self.order is None:
            return tokens
        return _taken(tokens, np.argsort([*others, *order]), ops)


def _taken(tokens: Array, order: Sequence[int] | NDArray[np.intp], ops: Ops) -> Array:
    return ops.take(tokens, ops.asarray(np.asarray(order), device=getattr(tokens, "device", None)), axis=-1)


def proportional(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Whether one stride explains every axis: ``size / grid`` agrees up to the rounding of the grid."""
    low = max(s / (g + 1) for g, s in zip(grid, size, strict=True))
    high = min(s / max(g - 1, 0.5) for g, s in zip(grid, size, strict=True))
    return low < high


def _grids(tokens: int, size: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Grids of exactly ``tokens`` positions that a patch size would cut from an input of ``size``."""
    found = set()
    for stride in range(1, max(size) + 1):
        for rounding in (math.floor, math.ceil):
            grid = tuple(max(1, rounding(s / stride)) for s in size)
            if math.prod(grid) == tokens and grid not in found:
                found.add(grid)
                yield grid


def _dense_layouts(shape: Sequence[int], batch: int, size: Sequence[int]) -> list[Layout]:
    """Outputs that keep their positions as axes: (n, c, *s), or (n, *s, c) where only that fits the input."""
    if shape[0] != batch:
        return []
    rank = len(shape)
    first = Layout(tuple(range(rank)), tuple(shape[2:]))
    last = Layout((0, rank - 1, *range(1, rank - 1)), tuple(shape[1:-1]))
    pooled = len(size) == 1 == shape[-1]  # of a signal any grid has the proportions, the channels of a pool too
    fitting = [
        x for x in ((first,) if pooled else (first, last)) if math.prod(x.grid) > 1 and proportional(x.grid, size)
    ]
    within = [x for x in fitting if _within(x.grid, size)]
    # Where no order keeps the input's proportions (strides that differ by axis), the order of convolutions is meant.
    stretched = [first] if math.prod(first.grid) > 1 and _within(first.grid, size) else []
    return (within or fitting or stretched)[:1]


def _within(grid: Sequence[int], size: Sequence[int]) -> bool:
    return all(g <= s for g, s in zip(grid, size, strict=True))


def _foldings(tokens: int, size: Sequence[int], known: Collection[Grid], most: int) -> list[tuple[int, Grid]]:
    """(extra tokens, grid) for a number of tokens.

    A known grid if one fits; where none is known, one that a patch size would cut. Beside known grids, another number
    is no grid's: the words of a text, the queries of a detector.
    """
    fits = [(tokens - math.prod(g), g) for g in known if 0 <= tokens - math.prod(g) <= most]
    extra = 0
    while not (fits or known) and extra <= min(most, tokens - 2):
        fits = [(extra, g) for g in _grids(tokens - extra, size)]
        extra += 1
    return [fit for fit in dict.fromkeys(fits) if fit[0] == min(fits)[0]]


def _token_layouts(
    shape: Sequence[int], batch: int, size: Sequence[int], known: Collection[tuple[int, ...]]
) -> list[Layout]:
    """Outputs that hold their positions on one axis: tokens, possibly after extra ones, or flattened feature maps."""
    usual, flat = [], []
    if 1 in shape[1:]:  # a pooled vector or a class token, whose number of channels may be a grid's by chance
        return []
    if len(size) == 3 and shape[0] == batch and 0 <= shape[1] - size[0] <= 1:
        return []  # a video's frames, one vector each
    if shape[0] == batch:
        usual = [Layout((0, 2, 1), grid, extra) for extra, grid in _foldings(shape[1], size, known, MOST_EXTRA_TOKENS)]
        flat = [Layout((0, 1, 2), grid) for _, grid in _foldings(shape[2], size, known, 0)]
    elif shape[1] == batch:
        usual = [Layout((1, 2, 0), grid, extra) for extra, grid in _foldings(shape[0], size, known, MOST_EXTRA_TOKENS)]
    found = [x for x in usual + flat if x.grid in known] or usual + flat
    if known and len(found) > 1 and found[-1] in flat:
        # Both axes could be the grid that other layers have: (n, 257, 256) is tokens with a class token, (n, 64, 49) is
        # a flattened 7 x 7 map rather than tokens with 15 extra ones, and what lies between stays open.
        if found[0].extra <= 1:
            return [x for x in found if x in usual]
        if found[0].extra > MOST_EXTRA_TOKENS // 2:
            return flat
    return found


def layouts(
    shape: Sequence[int], batch: int, size: Sequence[int], known: Collection[tuple[int, ...]] = ()
) -> list[Layout]:
    """Every way an output of ``shape`` can be read as a map of an input with positions ``size``.

    Args:
        shape: the output's shape.
        batch: how many images went in.
        size: the input's positions, such as (224, 224).
        known: grids of other layers that leave no doubt; they decide how tokens are folded.

    A video's frames may be rows of their own, each image's behind one another.

    Returns:
        No layout for an output without positions, one where there is no doubt, several where there is.
    """
    if len(size) == 3 and len(shape) < 5 and 1 < size[0] == shape[0] / batch:
        of_frames = layouts(shape, shape[0], size[1:], {g[1:] for g in known if g[:1] == size[:1]})
        return [_by_frame(x, size[0]) for x in of_frames if x.axes[0] == 0]
    known = {g for g in known if math.prod(g) > 1 and len(g) == len(size)}
    if len(shape) == len(size) + 2:
        return _dense_layouts(shape, batch, size)
    if len(shape) == 3:
        return _token_layouts(shape, batch, size, known)
    return []


def _by_frame(layout: Layout, frames: int) -> Layout:
    """The layout of rows that are frames, from that of rows that are images; each frame has its own extra tokens."""
    batch, channels, *positions = (axis + 1 for axis in layout.axes)
    axes, grid = (0, channels, batch, *positions), (frames, *layout.grid)
    if not layout.extra:
        return Layout(axes, grid, 0, frames)
    inside = math.prod(layout.grid)
    order = [f * (inside + layout.extra) + layout.extra + i for f in range(frames) for i in range(inside)]
    return Layout(axes, grid, frames * layout.extra, frames, tuple(order))


def image_layout(shape: Sequence[int]) -> Layout:
    """How an image that is given channels first is laid out: (n, channels, *positions).

    A video is (n, channels, frames, height, width), or (n, frames, channels, height, width) where only the latter
    makes the channels those of a grey or coloured picture, 1 or 3.
    """
    axes = list(range(len(shape)))
    colours = (1, 3)
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


def only_layout(name: str, shape: Sequence[int], found: Sequence[Layout], batch: int | None = None) -> Layout:
    """The one layout in ``found``, or the error that says which argument decides it; ``batch`` images went in."""
    if len(found) == 1:
        return found[0]
    if not found and batch is not None and len(shape) > 3 and shape[0] != batch:
        raise ModelError(f"layer {name!r} gives {shape[0]} rows for {batch} image(s). {MIXED_ROWS}")
    if not found:
        raise ModelError(
            f"layer {name!r} gives an output of shape {tuple(shape)}, which has no positions to draw a map on. "
            "Name a layer before it (`gradsight layers` or `explainer.layers(batch)` lists them), or pass `layout=` "
            "and `grid=` if it has positions after all."
        )
    readings = "; ".join(f"grid={x.grid}, {x.extra} extra tokens" for x in found)
    raise AmbiguousLayout(
        f"layer {name!r} gives an output of shape {tuple(shape)}, which can be read in more than one way: {readings}. "
        f"Pass `layout='tokens', grid={found[0].grid}` (or another)."
    )
