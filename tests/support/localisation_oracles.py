"""The metrics of localisation once more: from their papers, slow and plain, position by position.

A row takes one map (h, w), where the thing is (h, w), its boxes and the metric's options. It is asked of finite
maps alone, and of things of which something is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

ORACLES: dict[str, Callable[..., Any]] = {}


def oracle(function: Any) -> Any:
    ORACLES[function.__name__] = function
    return function


def positions(mask: Any) -> list[tuple[int, int]]:
    return [(i, j) for i, j in np.ndindex(*mask.shape) if mask[i, j]]


@oracle
def pointing(heat: Any, mask: Any, boxes: Any, *, tolerance: float = 0) -> float:
    if heat.min() == heat.max() or heat.max() <= 0:
        return 0.0
    peaks, thing = positions(heat == heat.max()), positions(mask)
    return float(any(math.dist(peak, place) <= tolerance for peak in peaks for place in thing))


@oracle
def energypointing(heat: Any, mask: Any, boxes: Any) -> float:
    inside = sum(max(heat[at], 0) for at in positions(mask))
    total = sum(max(value, 0) for value in heat.flat)
    return inside / total if total else 0.0


@oracle
def relevancemass(heat: Any, mask: Any, boxes: Any, *, values: str = "absolute") -> float:
    return energypointing(abs(heat) if values == "absolute" else heat, mask, boxes)


def mean_over_orders(heat: Any, mask: Any, count: int) -> float:
    """The mean over all orders of the positions that respect the map: by each choice of the ones that are tied."""
    places = sorted(np.ndindex(*heat.shape), key=lambda at: -heat[at])
    last = heat[places[count - 1]]
    sure = [at for at in places if heat[at] > last]
    tied = [at for at in places if heat[at] == last]
    room = count - len(sure)
    # By symmetry: each tied place is taken in the same share of the choices.
    share = room / len(tied)
    if math.comb(len(tied), room) <= 3000:
        chosen = list(itertools.combinations(range(len(tied)), room))
        assert math.isclose(sum(0 in one for one in chosen) / len(chosen), share)
    return (sum(bool(mask[at]) for at in sure) + share * sum(bool(mask[at]) for at in tied)) / count


@oracle
def relevancerank(heat: Any, mask: Any, boxes: Any) -> float:
    return mean_over_orders(heat, mask, len(positions(mask)))


@oracle
def topk(heat: Any, mask: Any, boxes: Any, *, k: int = 1000) -> float:
    return mean_over_orders(heat, mask, min(k, heat.size))


@oracle
def maskauc(heat: Any, mask: Any, boxes: Any) -> float:
    """The curve itself: true against false positives at each threshold, and the trapezoids under it."""
    if mask.all():
        return math.nan
    points = [(0.0, 0.0)]
    for threshold in sorted(set(heat.flat), reverse=True):
        taken = heat >= threshold
        points.append(((taken & ~mask).sum() / (~mask).sum(), (taken & mask).sum() / mask.sum()))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))


@oracle
def iou(heat: Any, mask: Any, boxes: Any, *, threshold: float = 0.5) -> float:
    hot = {at for at in np.ndindex(*heat.shape) if heat.max() > 0 and heat[at] >= threshold * heat.max()}
    thing = set(positions(mask))
    return len(hot & thing) / len(hot | thing)


def areas(marked: Any) -> list[list[tuple[int, int]]]:
    """Connected areas, corners included, by filling one after the other."""
    left, found = set(positions(marked)), []
    while left:
        area, front = [], [left.pop()]
        while front:
            i, j = front.pop()
            area.append((i, j))
            near = {(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            front += near
        found.append(area)
    return found


def box_of(area: list[tuple[int, int]]) -> tuple[float, ...]:
    rows, columns = zip(*area, strict=True)
    return min(rows), min(columns), max(rows) + 1, max(columns) + 1


def overlap(one: Any, other: Any) -> float:
    high, low = np.minimum(one[2:], other[2:]), np.maximum(one[:2], other[:2])
    shared = np.prod(np.maximum(high - low, 0))
    size = [np.prod(np.subtract(box[2:], box[:2])) for box in (one, other)]
    return float(shared / (sum(size) - shared))


def sweep(heat: Any, boxes: Any, thresholds: int) -> tuple[list[float], list[float]]:
    largest, best = [], []
    for step in range(thresholds):
        if heat.max() <= 0:
            fits, sizes = [0.0], [1]
        else:
            found = areas(np.maximum(heat, 0) / heat.max() >= step / thresholds)
            fits = [max(overlap(np.array(box_of(area)), box) for box in boxes) for area in found]
            sizes = [len(area) for area in found]
        largest.append(max(fit for fit, size in zip(fits, sizes, strict=True) if size == max(sizes)))
        best.append(max(fits))
    return largest, best


@oracle
def maxboxacc(heat: Any, mask: Any, boxes: Any, *, thresholds: int = 100) -> list[float]:
    return sweep(heat, boxes, thresholds)[0]


@oracle
def maxboxaccv2(heat: Any, mask: Any, boxes: Any, *, thresholds: int = 100) -> list[float]:
    return sweep(heat, boxes, thresholds)[1]
