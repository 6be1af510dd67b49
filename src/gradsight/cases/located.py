"""What metrics of localisation ask of a case: where the things are, and how much of a map lies on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.case import Case


def things(case: Case) -> Iterator[tuple[tuple[int, ...], NDArray[np.float32], NDArray[np.bool_]]]:
    """Of each map that can be measured its (image, target), its heat and where the thing is, (*positions) each.

    Maps that are not finite and targets of which no place is known are left out: `located` makes them NaN.
    """
    regions, there = _regions(case), _there(case)
    return ((at, case.heat[at], regions[at]) for at in case.pairs() if there[at])


def located(case: Case, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values (n, k), with NaN where nothing is known of a thing, or the map is not finite."""
    # No place to find is neither found nor missed: 0 would make every method worse alike, and tell nothing of any.
    return np.where(_there(case), values, np.nan).astype(np.float64)


def share_inside(case: Case, amounts: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, k): the share of what lies on the things, of amounts (n, k, *positions) that are not negative.

    It is 0 where there is no amount at all.
    """
    flat = amounts.reshape(*case.shape, -1).astype(np.float64)
    inside = np.where(_regions(case).reshape(flat.shape), flat, 0).sum(axis=-1)
    total = flat.sum(axis=-1)
    return np.asarray(np.divide(inside, total, out=np.zeros(case.shape), where=total > 0))


def hottest_inside(heat: NDArray[np.floating], region: NDArray[np.bool_], count: int) -> float:
    """The share of the ``count`` hottest positions that lies in a region.

    Of positions that are equally hot, and of which only some are taken, the mean over all choices counts.
    """
    least = np.partition(heat, heat.size - count, axis=None)[heat.size - count]
    hotter, tied = heat > least, heat == least
    room = count - int(hotter.sum())
    return float(((hotter & region).sum() + room * (tied & region).sum() / tied.sum()) / count)


def _there(case: Case) -> NDArray[np.bool_]:
    """(n, k): whether a map can be measured."""
    regions = _regions(case)
    return np.asarray(case.finite & regions.any(axis=tuple(range(2, regions.ndim))))


def _regions(case: Case) -> NDArray[np.bool_]:
    if case.regions is None:  # a metric says that it needs them, and is not called without
        raise ValueError("the case has no regions")
    return case.regions
