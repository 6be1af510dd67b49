"""The hottest parts of maps that lie on a picture, found between the cells of the maps, without the picture's pixels.

What `region` finds in ``placement.to_image(heat)`` is found here for some maps at once. A heatmap runs straight between
the centres of two cells, along a row of pixels as along a column. So it is known where in a row it crosses the
threshold, and that it is highest beside a cell's centre: a row is looked at in as many places as the map has cells.
Where the rounding of the heatmap's pixels decides, they are made and looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.imaging.placement import Placement, axis_matrix
from gradsight.imaging.region import Region, region
from gradsight.imaging.resample import Floats, product, sample_positions
from gradsight.imaging.spans import Spans, boxes_of

_DOUBT = 5e-7
"""Values that are closer, as a share of them, are compared in the pixels themselves. A pixel is the sum of two products
in single precision, with weights of single precision: three roundings, each of 6e-8, and as many more of the pixel that
it is compared with."""

_CELLS = 64
"""The most cells of a side: of finer maps the pixels are looked at, which are hardly more."""

_TINY = 1e-30
"""Maps that are nowhere above this are looked at in pixels: there single precision loses digits."""

_ROUNDED, _WIDE = 1e-9, 0.4
"""Of a pixel: what the place of a crossing is wrong by, computed in double precision; and the most that may be in doubt
for one pixel to decide, as it is not where the heat is level."""


def regions(heat: Floats, placement: Placement) -> list[Region | None]:
    """The hottest part of each map on the picture, to the last pixel as ``region(placement.to_image(map))`` has it.

    Args:
        heat: (m, h, w), finite and nowhere below 0.
        placement: where the maps lie on the picture.

    Returns:
        For each map its region in pixels of the picture, or None where nothing is over 0.

    >>> placement = Placement.whole((40, 60), (8, 8))
    >>> regions(np.array([[[0.0, 1.0], [2.0, 0.0]]], np.float32), placement)
    [Region(peak=(34, 7), box=(20, 0, 40, 30), area=0.2945833333333333)]
    """
    in_pixels = cache(lambda i: placement.to_image(heat[i]))
    if not len(heat) or max(heat.shape[1:]) > _CELLS:
        return [region(in_pixels(i)) for i in range(len(heat))]
    down, across = (_axis(placement, i, heat.shape[i + 1]) for i in range(2))
    # As `to_image` begins: the same numbers, to the bit.
    tall = product(down.weights, heat, 1)
    peaks = _peaks(tall, down, across)
    found: list[Region | None] = [None] * len(heat)
    clear = np.flatnonzero(peaks.clear)
    told = _between(tall[clear], peaks, clear, across, in_pixels) if len(clear) else {}
    for i in np.flatnonzero(peaks.highest > 0).tolist():
        exact = told.get(i) or region(in_pixels(i))
        found[i] = _with_row(exact, in_pixels(i)) if exact and i in told and peaks.tied[i] else exact
    return found


def _with_row(found: Region, heat: Floats) -> Region:
    """The region with its row among those of a column that differ by rounding alone."""
    column = found.peak[1]
    rows = np.flatnonzero(heat[:, column] == heat[:, column].max())
    return replace(found, peak=(int(rows[np.abs(rows - rows.mean()).argmin()]), column))


@dataclass(frozen=True, eq=False)
class _Axis:
    """How the cells of a map lie along an axis of a picture.

    Attributes:
        span: its pixels, where the first cell begins and the last ends, in pixels, and the cells.
        seen: where the pixels begin that the map lies on, and where they end, exclusive.
        per_cell: pixels from one cell to the next.
        first, last: of the pixels that may be the highest: a pixel each, or a stretch of one value.
        even: whether it is such a stretch, beside the outermost cells' centres.
    """

    span: tuple[int, float, float, int]
    seen: tuple[int, int]
    per_cell: float
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    even: NDArray[np.bool_]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(pixels, cells), the weights of the cells."""
        return axis_matrix(*self.span)


def _axis(placement: Placement, i: int, cells: int) -> _Axis:
    return _made(placement.image_size[i], placement.box[i], placement.box[i + 2], cells)


@lru_cache(maxsize=64)
def _made(length: int, start: float, stop: float, cells: int) -> _Axis:
    centres = np.arange(length) + 0.5
    seen = np.flatnonzero((centres >= start) & (centres < stop))
    low, high = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
    places = sample_positions(length, start, stop, cells)[low:high]
    # Before the first centre, and behind the last, all pixels have the value of the one cell.
    part = np.where(places >= cells - 1, cells, np.floor(places).clip(-1, None))
    part[(places <= 0) | (cells == 1)] = -1
    edges = np.flatnonzero(np.diff(part)) + 1
    first, last = [], []
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(part)], strict=True):
        if begin == end:
            continue
        if part[begin] in (-1, cells):
            first.append(begin)
            last.append(end - 1)
        else:  # the highest is at an end; the next ones show by how much
            near = sorted({begin, min(begin + 1, end - 1), max(end - 2, begin), end - 1})
            first += near
            last += near
    begins, ends = np.array(first, np.intp), np.array(last, np.intp)
    even = (part[begins] < 0) | (part[begins] == cells)
    return _Axis((length, start, stop, cells), (low, high), (stop - start) / cells, begins + low, ends + low, even)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """The highest pixels of maps.

    Attributes:
        highest: (m,) values; 0 where nothing is over 0.
        place: (m, 2), the row and the column; of a plateau its middle.
        clear: (m,) whether no other pixel comes near.
        tied: (m,) whether it is one of a column of pixels that are sums, and may differ by their rounding.
    """

    highest: NDArray[np.float64]
    place: NDArray[np.intp]
    clear: NDArray[np.bool_]
    tied: NDArray[np.bool_]


def _peaks(tall: Floats, down: _Axis, across: _Axis) -> _Peaks:
    m = len(tall)
    if not len(down.first) or not len(across.first):  # the model saw no centre of a pixel
        return _Peaks(np.zeros(m), np.zeros((m, 2), np.intp), *np.zeros((2, m), bool))
    grid = product(across.weights[across.first], tall[:, down.first].astype(np.float64), 2).reshape(m, -1)
    place = grid.argmax(axis=1)
    highest = np.asarray(grid[np.arange(m), place], np.float64)
    near = np.count_nonzero(grid >= (highest * (1 - _DOUBT))[:, None], axis=1)
    row, column = np.divmod(place, len(across.first))
    middle = ((axis.first[at] + axis.last[at]) // 2 for axis, at in ((down, row), (across, column)))
    # At the left and right edge they are those of one column of cells.
    tied = (down.first[row] < down.last[row]) & ~across.even[column]
    return _Peaks(highest, np.stack(list(middle), axis=1), (near == 1) & (highest > _TINY), tied)


def _between(
    tall: Floats, peaks: _Peaks, maps: NDArray[np.intp], across: _Axis, in_pixels: Callable[[int], Floats]
) -> dict[int, Region]:
    """The regions of those maps that can be told between the cells, (m, H, w)."""
    height, width = tall.shape[1], across.span[0]
    half = peaks.highest[maps] / 2
    crossings = _crossings(tall, half)
    place, doubt = _places(tall, half, crossings, across)
    # A cell that is at the threshold itself may be a whole stretch, beside the outermost centre.
    apart = np.abs(tall - half[:, None, None])
    level = np.asarray(apart.min(axis=(1, 2)) <= _DOUBT * half)
    level[crossings.row[doubt > _WIDE] // height] = True
    at = np.floor(place).astype(np.intp) + 1
    for one in np.flatnonzero((np.abs(place - np.rint(place)) <= doubt) & (doubt <= _WIDE)).tolist():
        i, row = divmod(int(crossings.row[one]), height)
        at[one] = _in_doubt(in_pixels(int(maps[i])), row, round(place[one]), rises=one % 2 == 0)
    spans, places = _spans(at, crossings.row, height), peaks.place[maps]
    boxes, counts = boxes_of(spans, places, width), spans.lengths(len(maps))
    return {
        i: Region(tuple(places[j].tolist()), tuple(boxes[j].tolist()), int(counts[j]) / (height * width))
        for j, i in enumerate(maps.tolist())
        if not level[j]
    }


class _Crossings(NamedTuple):
    """Where rows of pixels cross the threshold, one after the other: in and out by turns.

    Attributes:
        row: which one, of all maps.
        edge: between which two cells, by the second; 0 and the number of cells are the ends of what is seen.
    """

    row: NDArray[np.intp]
    edge: NDArray[np.intp]


def _crossings(tall: Floats, half: NDArray[np.float64]) -> _Crossings:
    m, height, cells = tall.shape
    above = np.asarray(tall >= half[:, None, None])
    turns = np.empty((m, height, cells + 1), bool)
    turns[..., 0], turns[..., -1] = above[..., 0], above[..., -1]
    np.not_equal(above[..., 1:], above[..., :-1], out=turns[..., 1:-1])
    return _Crossings(*np.divmod(np.flatnonzero(turns), cells + 1))


def _places(
    tall: Floats, half: NDArray[np.float64], crossings: _Crossings, across: _Axis
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The place of each crossing in pixels, and how far from it a pixel may be on either side by its rounding."""
    (_, height, cells), (row, edge) = tall.shape, crossings
    inner = (edge > 0) & (edge < cells)
    after = row * cells + np.minimum(edge, cells - 1)
    flat, wanted = tall.reshape(-1), half[row // height]
    left = flat[after - inner].astype(np.float64)
    steps = np.where(inner, flat[after] - left, 1)
    place = across.span[1] + (edge - 0.5 + (wanted - left) / steps) * across.per_cell - 0.5
    doubt = _DOUBT * wanted * across.per_cell / np.abs(steps) + _ROUNDED
    # At the ends all is known; nobody asks about pixels that are not seen.
    ends = np.where(edge == 0, across.seen[0] - 0.5, across.seen[1] - 0.5)
    return np.where(inner, place.clip(across.seen[0] - 0.5, across.seen[1] - 0.5), ends), np.where(inner, doubt, 0)


def _in_doubt(heat: Floats, row: int, column: int, *, rises: bool) -> int:
    """The first pixel behind a crossing that is at a pixel itself, as the pixel has it."""
    is_hot = bool(heat[row, column] >= 0.5 * heat.max())
    return column + (is_hot != rises)


def _spans(at: NDArray[np.intp], row: NDArray[np.intp], height: int) -> Spans:
    """The spans of hot pixels, from where each begins and ends."""
    begin, end, row = at[::2], at[1::2], row[::2]
    kept = np.flatnonzero(end > begin)
    begin, end, row = begin[kept], end[kept], row[kept]
    # The heat may fall and rise again between two pixels.
    again = np.flatnonzero((begin[1:] == end[:-1]) & (row[1:] == row[:-1]))
    if len(again):
        begin, end, row = np.delete(begin, again + 1), np.delete(end, again), np.delete(row, again)
    return Spans(*np.divmod(row, height), begin, end)
