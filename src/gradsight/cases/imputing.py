"""Linear imputation: what is missing in a picture, as the mean of its neighbours (ROAD, arXiv:2202.00449)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import like
from gradsight.cases.case import Case
from gradsight.cases.curves import counts_of
from gradsight.cases.removal import images_of
from gradsight.foreign import Array

_UNDIVIDED = 3
"""Positions along each axis of a part of the grid that is not divided any more."""


def changes(case: Case, steps: int, noise: float, *, hottest: bool) -> NDArray[np.float64]:
    """(n, k): the mean change of the probability once 1 to ``steps`` shares of all positions are imputed."""

    def make() -> NDArray[np.float64]:
        positions = math.prod(case.size)
        # The first count is 0 and the last all: neither is ROAD's.
        counts = counts_of(steps + 1, positions)[1:-1]
        ranks = case.ranks if hottest else positions - 1 - case.ranks
        found = case.scoring.by_target(
            len(counts), lambda pairs: _versions(case, ranks, counts, noise, pairs), "probability"
        )
        return np.asarray(found.mean(axis=0) - case.scoring.unchanged("probability"))

    return case.kept(("imputed", steps, noise, hottest), make)


def _versions(
    case: Case, ranks: NDArray[np.int32], counts: Sequence[int], noise: float, pairs: Sequence[tuple[int, int]]
) -> Array:
    """The images with so many positions imputed, by one target's ranks after another: (len(pairs) * n, ...)."""
    scoring = case.scoring
    images = images_of(scoring)
    # Of each channel and position one number, for all images and shares.
    drawn = noise * scoring.random(2).standard_normal(images.shape[1:])
    rows = []
    for version, target in pairs:
        for image, rank in zip(images, ranks[:, target], strict=True):
            removed = rank < counts[version]
            rows.append(imputed(image, removed) + drawn * removed)
    return like(np.stack(rows).astype(images.dtype), scoring.images, scoring.ops)


def imputed(image: NDArray[np.floating], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """An image in which each missing position is the weighted mean of its neighbours, all of them at once.

    Of two axes the weights are 1/6 beside and 1/12 at corners, as in the paper; of one or three axes half as much for
    each step further as well. At the edges the weights of the neighbours that there are count alone. Where nothing is
    left, each channel is its mean.

    Args:
        image: (c, *positions).
        removed: (*positions), what is missing.
    """
    values = image.astype(np.float64)
    flat, missing = values.reshape(len(values), -1), removed.ravel()
    if missing.all():
        return np.broadcast_to(values.mean(axis=tuple(range(1, values.ndim)), keepdims=True), values.shape).copy()
    if missing.any():
        flat[:, missing] = _solved(flat, removed)
    return flat.reshape(image.shape)


def _solved(flat: NDArray[np.float64], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The values of the missing positions, (c, missing)."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    missing = removed.ravel()
    count = int(missing.sum())
    order = _elimination(removed.shape)
    order = order[missing[order]]
    number = np.empty(missing.size, np.intp)
    number[order] = np.arange(count)
    totals, known = np.zeros(count), np.zeros((count, len(flat)))
    rows, columns, values = [], [], []
    for weight, here, there in _neighbours(removed):
        row = number[here]
        totals[row] += weight
        gone = missing[there]
        rows.append(row[gone])
        columns.append(number[there[gone]])
        values.append(np.full(int(gone.sum()), -weight))
        # Each position has one neighbour in a direction, so that no row is named twice.
        known[row[~gone]] += weight * flat[:, there[~gone]].T
    rows.append(np.arange(count))
    columns.append(np.arange(count))
    values.append(totals)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = sparse.csc_matrix(entries, shape=(count, count))
    # It is symmetric, and its diagonal is the sum of the rest and more: no pivot is needed, and the order stays.
    factors = splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, panel_size=1, options={"SymmetricMode": True})
    return np.asarray(factors.solve(known)[number[missing]].T)


@lru_cache(maxsize=16)
def _elimination(size: tuple[int, ...]) -> NDArray[np.intp]:
    """The positions of a grid in the order in which their equations are solved: by nested dissection.

    Both sides of a line come first, and the line last, so that neither side fills in the other's part of the matrix:
    half the time of the orders that SuperLU finds by itself, which do not know of the grid.
    """
    grid = np.arange(math.prod(size), dtype=np.intp).reshape(size)
    parts: list[NDArray[np.intp]] = []

    def divide(part: NDArray[np.intp]) -> None:
        if max(part.shape) <= _UNDIVIDED:
            parts.append(part.ravel())
            return
        axis = int(np.argmax(part.shape))
        middle = part.shape[axis] // 2
        before, line, after = np.split(part, (middle, middle + 1), axis=axis)
        divide(before)
        divide(after)
        parts.append(line.ravel())

    divide(grid)
    return np.concatenate(parts)


def _neighbours(removed: NDArray[np.bool_]) -> Iterator[tuple[float, NDArray[np.intp], NDArray[np.intp]]]:
    """For each direction its weight, the missing positions that have a neighbour there, and these neighbours."""
    size = removed.shape
    places = np.nonzero(removed)
    for steps in itertools.product((-1, 0, 1), repeat=len(size)):
        if any(steps):
            there = [place + step for place, step in zip(places, steps, strict=True)]
            inside = np.logical_and.reduce(
                [(place >= 0) & (place < side) for place, side in zip(there, size, strict=True)]
            )
            here = np.ravel_multi_index([place[inside] for place in places], size)
            # 1/6 and 1/12 of two axes; what all are multiplied with makes no difference.
            yield (
                1 / (6 * 2 ** (np.count_nonzero(steps) - 1)),
                here,
                np.ravel_multi_index([place[inside] for place in there], size),
            )
