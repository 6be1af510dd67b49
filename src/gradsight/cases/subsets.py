"""Random subsets of positions: what a map says of them, and what the score loses without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.case import Case
from gradsight.cases.removal import removing
from gradsight.cases.scoring import Scoring
from gradsight.foreign import Array

_SIDES = (0.1, 0.5)
"""The shortest and the longest side of a square, as a share of the picture's."""


_AT_ONCE = 32
"""Masks that a map is summed over together."""

_ROUNDING = 1e-9
"""Of the largest magnitude: what varies by less is constant."""


@dataclass(frozen=True)
class Subsets:
    """Which subsets are drawn. They are the same for every image and target, so that all maps share their passes.

    Attributes:
        kind: ``"positions"``: of a fixed number, drawn one by one; ``"cells"``: patches of a grid, each by chance;
            ``"squares"``: one block of positions, its sides drawn from a tenth to half of the picture's.
        samples: how many.
        share: the share of positions, or the chance of a patch.
        cells: patches along each axis.
    """

    kind: str
    samples: int
    share: float = 0.0
    cells: int = 0

    def masks(self, scoring: Scoring) -> NDArray[np.bool_]:
        """(samples, *positions): what each subset holds; by the seed, and the same whatever else is drawn."""
        draw = {"positions": self._positions, "cells": self._cells, "squares": self._square}[self.kind]
        # A generator for each: of more samples the first ones stay the same.
        return scoring.kept(
            self, lambda: np.stack([draw(scoring.random(1, i), scoring.size) for i in range(self.samples)])
        )

    def _positions(self, random: np.random.Generator, size: Sequence[int]) -> NDArray[np.bool_]:
        count = int(np.prod(size))
        mask = np.zeros(count, bool)
        mask[random.permutation(count)[: max(1, round(self.share * count))]] = True
        return mask.reshape(tuple(size))

    def _cells(self, random: np.random.Generator, size: Sequence[int]) -> NDArray[np.bool_]:
        grid = tuple(min(self.cells, side) for side in size)
        drawn = random.random(grid) < self.share
        # Each position has the patch that its middle lies in.
        places = [((np.arange(side) + 0.5) * cells / side).astype(int) for side, cells in zip(size, grid, strict=True)]
        return np.asarray(drawn[np.ix_(*places)])

    def _square(self, random: np.random.Generator, size: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(tuple(size), bool)
        share = random.uniform(*_SIDES)
        sides = [max(1, round(share * side)) for side in size]
        starts = [int(random.integers(side - length + 1)) for side, length in zip(size, sides, strict=True)]
        mask[tuple(slice(start, start + length) for start, length in zip(starts, sides, strict=True))] = True
        return mask


def inside(case: Case, subsets: Subsets) -> NDArray[np.float64]:
    """(n, k, samples): the sum of each map, at the input's size, over each subset."""
    masks = subsets.masks(case.scoring).reshape(subsets.samples, -1)
    flat = case.heat.reshape(*case.shape, -1).astype(np.float64)
    # Some at a time: as float64 the masks of two hundred subsets would take 80 MB.
    parts = (masks[i : i + _AT_ONCE] for i in range(0, len(masks), _AT_ONCE))
    return np.concatenate([flat @ part.T.astype(np.float64) for part in parts], axis=-1)


def lost_without(scoring: Scoring, subsets: Subsets, baseline: str) -> NDArray[np.float64]:
    """(n, k, samples): what each logit loses without each subset; made once for all cases that share a scoring."""

    def make() -> NDArray[np.float64]:
        masks, remove, ops, images = subsets.masks(scoring), removing(scoring, baseline), scoring.ops, scoring.images

        def without(some: range) -> Array:
            there = ops.asarray(masks[some.start : some.stop, None], device=images.device)
            return remove(ops.broadcast_to(there, (len(some), len(images), *masks.shape[1:])))

        scores = scoring.over(subsets.samples, without)
        return np.moveaxis(scoring.unchanged() - scores, 0, -1)

    return scoring.kept((subsets, baseline), make)


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's correlation along the last axis; NaN where one side is constant."""
    # What is left of a constant after its mean is rounding, and no variation.
    varies = np.logical_and(*(np.ptp(x, axis=-1) > _ROUNDING * np.abs(x).max(axis=-1) for x in (a, b)))
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (a.astype(np.float64), b.astype(np.float64)))
    lengths = [np.sqrt(np.square(x).sum(axis=-1)) for x in (a, b)]
    product = lengths[0] * lengths[1]
    return np.asarray(np.divide((a * b).sum(axis=-1), product, out=np.full(a.shape[:-1], np.nan), where=varies))


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spearman's correlation along the last axis, ties at their mean rank; NaN where one side is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(a, axis=-1, nan_policy="propagate"), rankdata(b, axis=-1, nan_policy="propagate"))
