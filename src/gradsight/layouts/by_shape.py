"""The layouts that the shape of an output allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from gradsight.layouts.layout import MOST_EXTRA_TOKENS, Grid, Layout


def proportional(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Whether one stride fits every axis: ``size / grid`` is the same, up to the rounding of the grid."""
    # A grid of g cells comes from any side between (g - 1) and (g + 1) strides, by how a layer rounds.
    low = max(s / (g + 1) for g, s in zip(grid, size, strict=True))
    high = min(s / max(g - 1, 0.5) for g, s in zip(grid, size, strict=True))
    return low < high


def _grids(tokens: int, size: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Grids of exactly ``tokens`` positions that a patch size would cut from an input of ``size``."""
    seen = set()
    # Patches are square in every model that folds tokens, so one stride gives all sides.
    for stride in range(1, max(size) + 1):
        for rounding in (math.floor, math.ceil):
            grid = tuple(max(1, rounding(s / stride)) for s in size)
            if math.prod(grid) == tokens and grid not in seen:
                seen.add(grid)
                yield grid


def _dense_layouts(shape: Sequence[int], batch: int, size: Sequence[int]) -> list[Layout]:
    """Outputs that keep their positions as axes: (n, c, *s), or (n, *s, c) where only that fits the input."""
    # Rows are no images: frames or windows, which are treated elsewhere.
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
    """The grids that a number of tokens may fold to, as (extra tokens, grid).

    If other layers have known grids, only these are taken: another number of tokens is that of words, or of the
    queries of a detector. If there are none, a grid is taken that patches of some size would give.
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
    fitting = [x for x in usual + flat if x.grid in known] or usual + flat
    if known and len(fitting) > 1 and fitting[-1] in flat:
        # Both axes could be the grid that other layers have: (n, 257, 256) is tokens with a class token, (n, 64, 49) is
        # a flattened 7 x 7 map rather than tokens with 15 extra ones, and what lies between stays open.
        if fitting[0].extra <= 1:
            return [x for x in fitting if x in usual]
        if fitting[0].extra > MOST_EXTRA_TOKENS // 2:
            return flat
    return fitting


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
    # A network of pictures that gets the frames of a video one by one.
    if len(size) == 3 and len(shape) < 5 and 1 < size[0] == shape[0] / batch:
        of_frames = layouts(shape, shape[0], size[1:], {g[1:] for g in known if g[:1] == size[:1]})
        return [_by_frame(x, size[0]) for x in of_frames if x.axes[0] == 0]
    # A single cell is a pooled vector; it would make any number of tokens a grid with extra ones.
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
