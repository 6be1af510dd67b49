"""Heat of many photos on one grid: how it is shared out over the picture, where it lies and how scattered it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging

Heat: TypeAlias = NDArray[np.float32]
"""(n, rows, columns): of each photo the share of its heat in each cell, 1 in all; 0 everywhere where there is none."""

MOST_CELLS = 16
"""A grid has at most so many cells along a side: finer maps are averaged, and a hundred thousand fit into 100 MB."""

_BORDER = 0.1
"""The border is the outer tenth of each side, as in the rows of a run."""


def grid_of(sizes: Iterable[Sequence[int]]) -> tuple[int, int]:
    """The grid that maps of such sizes, (rows, columns) each, are laid on: the coarsest of them, but at most 16 x 16.

    >>> grid_of([(7, 7), (7, 9), (56, 56)])
    (7, 7)
    """
    rows, columns = zip(*sizes, strict=True)
    return min(MOST_CELLS, *rows), min(MOST_CELLS, *columns)


def shares(maps: Iterable[NDArray[np.floating]], grid: tuple[int, int]) -> Heat:
    """How the heat of each map, what is over 0, is shared out over the cells of a grid.

    Args:
        maps: (h, w) each, raw and of any size.
        grid: (rows, columns).
    """
    made = []
    for values in maps:
        heat = np.clip(imaging.nan_to_zero(np.asarray(values, np.float32)), 0, None)
        laid = averaged(heat, grid)
        total = laid.sum()
        # A map without heat says nothing of places: it is left out wherever means are taken.
        made.append(laid / total if total > 0 else np.zeros(grid, np.float32))
    return np.stack(made).astype(np.float32) if made else np.zeros((0, *grid), np.float32)


def averaged(heat: NDArray[np.floating], grid: tuple[int, int]) -> NDArray[np.floating]:
    """The mean of an image (h, w) over each cell of a grid; cells may begin and end within a pixel."""
    down, across = (_overlaps(cells, length) for cells, length in zip(grid, heat.shape, strict=True))
    made: NDArray[np.floating] = down @ heat @ across.T
    return made


def _overlaps(cells: int, length: int) -> NDArray[np.float64]:
    """(cells, length): which share of each cell each pixel covers."""
    # Of pixel i the part from i to i + 1 counts: cells of another number of pixels share those at their ends.
    ends, pixels = np.arange(cells + 1) * length / cells, np.arange(length)
    stop = np.minimum(ends[1:, None], pixels + 1)
    start = np.maximum(ends[:-1, None], pixels)
    return np.asarray(np.clip(stop - start, 0, None) * cells / length)


def inside(start: float, stop: float, cells: int) -> NDArray[np.float64]:
    """(cells,): which share of each cell along a side lies between two places, as shares of the side."""
    ends = np.linspace(0, 1, cells + 1)
    return np.asarray(np.clip(np.minimum(ends[1:], stop) - np.maximum(ends[:-1], start), 0, None) * cells)


def share_in(heat: Heat, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """(n,): the share of the heat in a box (top, left, bottom, right), as shares of the photo."""
    down, across = (inside(box[i], box[i + 2], cells) for i, cells in enumerate(heat.shape[1:]))
    return np.asarray(np.einsum("nij,i,j->n", heat, down, across), np.float64)


def border_share(heat: Heat) -> NDArray[np.float64]:
    """(n,): the share of the heat in the outer tenth of each side; 0.36 of heat that is even."""
    return np.asarray(heat.sum(axis=(1, 2)) - share_in(heat, (_BORDER, _BORDER, 1 - _BORDER, 1 - _BORDER)), np.float64)


def centre_share(heat: Heat) -> NDArray[np.float64]:
    """(n,): the share of the heat in the middle half of each side; 0.25 of heat that is even."""
    return share_in(heat, (0.25, 0.25, 0.75, 0.75))


def corner_shares(heat: Heat) -> NDArray[np.float64]:
    """(n, 4): the shares of the heat in the corners, a quarter of each side: upper left, upper right, lower ones."""
    corners = [(top, left, top + 0.25, left + 0.25) for top in (0, 0.75) for left in (0, 0.75)]
    return np.stack([share_in(heat, corner) for corner in corners], axis=1)


def scatter(heat: Heat) -> NDArray[np.float64]:
    """(n,): the entropy of the heat, in [0, 1]: 0 where one cell holds all of it, 1 where it is even, NaN of none."""
    shares = heat.reshape(len(heat), -1).astype(np.float64)
    cells = max(2, shares.shape[1])
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    found = -(shares * logs).sum(axis=1) / np.log(cells)
    return np.where(shares.sum(axis=1) > 0, found, np.nan)
