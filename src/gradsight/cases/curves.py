"""Scores of the images while positions are taken away, or put back, in the order of a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.case import Case
from gradsight.cases.removal import emptied, removing
from gradsight.cases.scoring import Scale, Scoring
from gradsight.foreign import Array

FromPairs: TypeAlias = Callable[[Sequence[tuple[int, int]]], Array]


def counts_of(steps: int, positions: int) -> list[int]:
    """How many positions are gone after each step, from 0 to all of them: shares as even as whole numbers can be."""
    # No more steps than positions: between them nothing would change, at the price of a pass.
    steps = min(steps, positions)
    return [round(step * positions / steps) for step in range(steps + 1)]


def scores_without(
    case: Case, counts: Sequence[int], baseline: str, scale: Scale, *, hottest: bool = True
) -> NDArray[np.float64]:
    """The scores after the hottest (or the coldest) positions are taken away: (len(counts), n, k).

    Where nothing or everything is taken away the scores are those that all maps share.
    """
    scoring, positions = case.scoring, math.prod(case.size)
    ends = {0: lambda: scoring.unchanged(scale), positions: lambda: without_anything(scoring, baseline, scale)}
    between = [count for count in counts if count not in ends]
    found = scoring.by_target(len(between), _removal(case, between, baseline, hottest=hottest), scale)
    values = dict(zip(between, found, strict=True))
    return np.stack([ends[count]() if count in ends else values[count] for count in counts])


def without_anything(scoring: Scoring, baseline: str, scale: Scale) -> NDArray[np.float64]:
    """(n, k): the scores of the images with everything taken away; one pass for all cases that share a scoring."""
    raw = scoring.kept(("without anything", baseline), lambda: scoring.raw(emptied(scoring, baseline)))
    return scoring.scaled(raw[0], scale)


def _removal(case: Case, counts: Sequence[int], baseline: str, *, hottest: bool) -> FromPairs:
    """From pairs (which count, target) to the images without so many of the target's positions."""
    scoring, ops = case.scoring, case.scoring.ops
    remove, images = removing(scoring, baseline), scoring.images
    ranks = case.ranks if hottest else math.prod(case.size) - 1 - case.ranks
    # To the device once: each version is then a comparison there.
    there = ops.asarray(ranks, device=images.device)

    def make(pairs: Sequence[tuple[int, int]]) -> Array:
        return remove(ops.stack([there[:, target] < counts[version] for version, target in pairs], axis=0))

    return make


def area(values: NDArray[np.float64], counts: Sequence[int]) -> NDArray[np.float64]:
    """The area under curves (steps + 1, ...) by trapezoids over the share of positions, real shares and not steps."""
    shares = np.asarray(counts) / counts[-1]
    return np.asarray(np.trapezoid(values, shares, axis=0))
