"""Every metric once more: the paper's formula, slow and plain, in NumPy float64 over loops.

A row takes a `plain.Plain`, raw maps (n, k, *s) and the options of the metric, and gives (n, k). Random numbers are
drawn as the metrics say they draw them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from oracles import ORACLES as METHOD_ORACLES
from oracles import enlarged, pairs, softmax
from plain import Plain

ORACLES: dict[str, Callable[..., Any]] = {}
BLACK, WHITE = -0.7, 1.3
"""What the tests say these colours are."""


def oracle(name: str) -> Callable[[Any], Any]:
    def enter(function: Any) -> Any:
        """A function of one map: (view, image, target, map, **options) -> number."""

        def row(view: Any, maps: Any, **options: Any) -> Any:
            values = np.full((view.n, view.k), np.nan)
            for i, j in pairs(view):
                if np.isfinite(maps[i, j]).all():
                    values[i, j] = function(view, i, j, maps[i, j].astype(np.float64), **options)
            return values

        ORACLES[name] = row
        return function

    return enter


def heat(view: Any, one: Any) -> Any:
    return enlarged(one, view.images.shape[2:]).astype(np.float32).astype(np.float64)


def shown(view: Any, one: Any) -> Any:
    one = np.where(one > 0, one, 0)
    one = one / one.max() if one.max() > 0 else one
    return heat(view, one)


def logit(view: Any, i: int, j: int, image: Any) -> float:
    with torch.no_grad():
        return float(view._model(torch.from_numpy(np.ascontiguousarray(image))[None])[0, view.classes[i, j]])


def probability(view: Any, i: int, j: int, image: Any) -> float:
    with torch.no_grad():
        logits = view._model(torch.from_numpy(np.ascontiguousarray(image))[None])[0].numpy()
    return softmax(logits)[view.classes[i, j]]


def order(values: Any) -> list[tuple[int, ...]]:
    """Positions, the hottest first; of equals the first one."""
    return sorted(np.ndindex(*values.shape), key=lambda at: -values[at])


def bell(image: Any) -> Any:
    side = min(image.shape[1:])
    deviation = max(1.0, 5 * side / 224)
    reach = round(deviation)
    weights = [math.exp(-(d**2) / (2 * deviation**2)) for d in range(-reach, reach + 1)]
    weights = [w / sum(weights) for w in weights]
    for axis in range(1, image.ndim):
        length, total = image.shape[axis], 0
        for d, w in zip(range(-reach, reach + 1), weights, strict=True):
            total = total + w * np.take(image, [min(max(p + d, 0), length - 1) for p in range(length)], axis=axis)
        image = total
    return image


def filled(image: Any, gone: Any, baseline: str) -> Any:
    """The image without some positions."""
    image = image.copy()
    channels = range(len(image))
    if baseline == "inpaint" and gone.all():
        baseline = "mean"
    if baseline == "inpaint":
        left = list(zip(*np.nonzero(~gone), strict=True))
        source = image.copy()
        for at in zip(*np.nonzero(gone), strict=True):
            nearest = min(left, key=lambda other, at=at: math.dist(at, other))
            ties = [other for other in left if math.dist(at, other) == math.dist(at, nearest)]
            assert len(ties) == 1, "an oracle of ties would need the order of scipy"
            image[(slice(None), *at)] = source[(slice(None), *nearest)]
        return image
    drawn = np.random.default_rng((0, 0)).standard_normal(image.shape)
    colours = {
        "black": np.full_like(image, BLACK),
        "white": np.full_like(image, WHITE),
        "mean": np.stack([np.full_like(image[c], image[c].mean()) for c in channels]),
        "noise": np.stack([image[c].mean() + image[c].std() * drawn[c] for c in channels]),
        "blur": bell(image),
    }[baseline]
    image[:, gone] = colours[:, gone]
    return image


def without_first(view: Any, i: int, positions: Any, baseline: str) -> Any:
    gone = np.zeros(view.images.shape[2:], bool)
    for at in positions:
        gone[at] = True
    return filled(view.images[i], gone, baseline)


def counts(steps: int, positions: int) -> list[int]:
    steps = min(steps, positions)
    return [round(s * positions / steps) for s in range(steps + 1)]


def trapezoids(values: list[float], at: list[int]) -> float:
    parts = [(values[s] + values[s + 1]) / 2 * (at[s + 1] - at[s]) / at[-1] for s in range(len(at) - 1)]
    return sum(parts)


@oracle("deletion")
def deletion(view: Any, i: int, j: int, one: Any, steps: int = 28, baseline: str = "black") -> float:
    first = order(heat(view, one))
    at = counts(steps, len(first))
    return trapezoids([probability(view, i, j, without_first(view, i, first[:c], baseline)) for c in at], at)


@oracle("insertion")
def insertion(view: Any, i: int, j: int, one: Any, steps: int = 28, baseline: str = "blur") -> float:
    first = order(heat(view, one))
    at = counts(steps, len(first))
    return trapezoids([probability(view, i, j, without_first(view, i, first[c:], baseline)) for c in at], at)


@oracle("pixelflipping")
def pixelflipping(
    view: Any, i: int, j: int, one: Any, steps: int = 10, share: float = 0.2, baseline: str = "noise"
) -> float:
    first = order(heat(view, one))
    at = counts(steps, max(1, round(share * len(first))))
    before = logit(view, i, j, view.images[i])
    return float(np.mean([before - logit(view, i, j, without_first(view, i, first[:c], baseline)) for c in at]))


def through(view: Any, i: int, one: Any, baseline: str) -> Any:
    seen, image = shown(view, one), view.images[i]
    empty = filled(image, np.ones(image.shape[1:], bool), baseline)
    return np.stack([image[c] * seen + empty[c] * (1 - seen) for c in range(len(image))])


def before_after(view: Any, i: int, j: int, one: Any, baseline: str) -> tuple[float, float]:
    return probability(view, i, j, view.images[i]), probability(view, i, j, through(view, i, one, baseline))


@oracle("averagedrop")
def averagedrop(view: Any, i: int, j: int, one: Any, baseline: str = "black") -> float:
    before, after = before_after(view, i, j, one, baseline)
    return max(0, before - after) / before


@oracle("increase")
def increase(view: Any, i: int, j: int, one: Any, baseline: str = "black") -> float:
    before, after = before_after(view, i, j, one, baseline)
    return float(after > before)


@oracle("averagegain")
def averagegain(view: Any, i: int, j: int, one: Any, baseline: str = "black") -> float:
    before, after = before_after(view, i, j, one, baseline)
    return max(0, after - before) / (1 - before)


def pearson(a: Any, b: Any) -> float:
    a, b = np.asarray(a, float).ravel(), np.asarray(b, float).ravel()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def ranks(values: Any) -> list[float]:
    values = np.asarray(values).ravel()
    return [float((values < v).sum() + ((values == v).sum() + 1) / 2) for v in values]


@oracle("coherency")
def coherency(view: Any, i: int, j: int, one: Any, baseline: str = "black") -> float:
    other = Plain(view._model, view._names, through(view, i, one, baseline)[None], [list(view.classes[i])])
    again = METHOD_ORACLES["gradcam"](other)[0, j]
    return (pearson(shown(view, one), shown(view, again)) + 1) / 2


def harmonic(parts: list[float]) -> float:
    if any(math.isnan(part) for part in parts):
        return math.nan
    return 0.0 if min(parts) <= 0 else 3 / sum(1 / part for part in parts)


@oracle("adcc")
def adcc(view: Any, i: int, j: int, one: Any, baseline: str = "black") -> float:
    parts = [
        coherency(view, i, j, one, baseline),
        1 - shown(view, one).mean(),
        1 - averagedrop(view, i, j, one, baseline),
    ]
    return harmonic(parts)


def neighbours(at: tuple[int, ...], size: Any) -> list[tuple[tuple[int, ...], float]]:
    found = []
    for steps in np.ndindex(*(3,) * len(size)):
        there = tuple(p + s - 1 for p, s in zip(at, steps, strict=True))
        apart = sum(s != 1 for s in steps)
        if apart and all(0 <= p < side for p, side in zip(there, size, strict=True)):
            found.append((there, 1 / 6 / 2 ** (apart - 1)))
    return found


def imputed(image: Any, gone: Any) -> Any:
    """A dense system of equations, one for each missing position."""
    places = list(zip(*np.nonzero(gone), strict=True))
    if not places:
        return image
    number = {at: row for row, at in enumerate(places)}
    left, right = np.zeros((len(places), len(places))), np.zeros((len(places), len(image)))
    for at, row in number.items():
        for there, weight in neighbours(at, gone.shape):
            left[row, row] += weight
            if there in number:
                left[row, number[there]] -= weight
            else:
                right[row] += weight * image[(slice(None), *there)]
    image = image.copy()
    image[:, gone] = np.linalg.solve(left, right).T
    return image


def road_change(view: Any, i: int, j: int, first: Any, steps: int, noise: float) -> float:
    image = view.images[i]
    drawn = np.random.default_rng((0, 2)).standard_normal(image.shape)
    changes = []
    for c in counts(steps + 1, len(first))[1:-1]:
        gone = np.zeros(image.shape[1:], bool)
        for at in first[:c]:
            gone[at] = True
        changes.append(probability(view, i, j, imputed(image, gone) + noise * drawn * gone))
    return float(np.mean(changes)) - probability(view, i, j, image)


@oracle("roadmorf")
def roadmorf(view: Any, i: int, j: int, one: Any, steps: int = 9, noise: float = 0.01) -> float:
    return road_change(view, i, j, order(heat(view, one)), steps, noise)


@oracle("roadlerf")
def roadlerf(view: Any, i: int, j: int, one: Any, steps: int = 9, noise: float = 0.01) -> float:
    return road_change(view, i, j, order(heat(view, one))[::-1], steps, noise)


@oracle("road")
def road(view: Any, i: int, j: int, one: Any, **options: Any) -> float:
    return (roadlerf(view, i, j, one, **options) - roadmorf(view, i, j, one, **options)) / 2


@oracle("arcc")
def arcc(view: Any, i: int, j: int, one: Any, baseline: str = "black", **options: Any) -> float:
    removal = min(max(2 * road(view, i, j, one, **options), 0), 1)
    parts = [coherency(view, i, j, one, baseline), 1 - shown(view, one).mean(), removal]
    return harmonic(parts)


def told_and_lost(view: Any, i: int, j: int, one: Any, masks: Any, baseline: str) -> tuple[list[float], list[float]]:
    values, before = heat(view, one), logit(view, i, j, view.images[i])
    told = [float(values[mask].sum()) for mask in masks]
    return told, [before - logit(view, i, j, filled(view.images[i], mask, baseline)) for mask in masks]


@oracle("faithfulnesscorrelation")
def faithfulnesscorrelation(
    view: Any, i: int, j: int, one: Any, samples: int = 100, share: float = 0.1, baseline: str = "black"
) -> float:
    size, masks = view.images.shape[2:], []
    for s in range(samples):
        chosen = np.random.default_rng((0, 1, s)).permutation(math.prod(size))[: max(1, round(share * math.prod(size)))]
        mask = np.zeros(math.prod(size), bool)
        mask[chosen] = True
        masks.append(mask.reshape(size))
    return pearson(*told_and_lost(view, i, j, one, masks, baseline))


@oracle("mufidelity")
def mufidelity(
    view: Any, i: int, j: int, one: Any, samples: int = 200, cells: int = 9, share: float = 0.2, baseline: str = "black"
) -> float:
    size, masks = view.images.shape[2:], []
    grid = [min(cells, side) for side in size]
    for s in range(samples):
        drawn = np.random.default_rng((0, 1, s)).random(grid) < share
        mask = np.zeros(size, bool)
        for at in np.ndindex(*size):
            mask[at] = drawn[tuple(int((p + 0.5) * c / side) for p, c, side in zip(at, grid, size, strict=True))]
        masks.append(mask)
    told, lost = told_and_lost(view, i, j, one, masks, baseline)
    return pearson(ranks(told), ranks(lost))


@oracle("infidelity")
def infidelity(
    view: Any, i: int, j: int, one: Any, samples: int = 50, factor: str = "best", baseline: str = "black"
) -> float:
    size, masks = view.images.shape[2:], []
    for s in range(samples):
        random = np.random.default_rng((0, 1, s))
        share = random.uniform(0.1, 0.5)
        sides = [max(1, round(share * side)) for side in size]
        mask = np.zeros(size, bool)
        starts = [int(random.integers(side - length + 1)) for side, length in zip(size, sides, strict=True)]
        mask[tuple(slice(a, a + b) for a, b in zip(starts, sides, strict=True))] = True
        masks.append(mask)
    told, lost = told_and_lost(view, i, j, one, masks, baseline)
    best = sum(t * d for t, d in zip(told, lost, strict=True)) / (sum(t * t for t in told) or 1)
    times = best if factor == "best" else 1
    return float(np.mean([(times * t - d) ** 2 for t, d in zip(told, lost, strict=True)]))


@oracle("occlusioncorrelation")
def occlusioncorrelation(view: Any, i: int, j: int, one: Any, window: float = 0.2, stride: float = 0.1) -> float:
    alone = Plain(view._model, view._names, view.images[i : i + 1], [[view.classes[i, j]]])
    other = METHOD_ORACLES["occlusion"](alone, window=window, stride=stride)[0, 0]
    return pearson(ranks(heat(view, one)), ranks(other))


@oracle("entropy")
def entropy(view: Any, i: int, j: int, one: Any) -> float:
    values = [abs(v) for v in heat(view, one).ravel()]
    shares = [v / sum(values) for v in values] if sum(values) else [math.nan]
    return -sum(p * math.log(p) for p in shares if p != 0)


@oracle("gini")
def gini(view: Any, i: int, j: int, one: Any) -> float:
    """The mean difference of all pairs, over twice the mean."""
    values = [abs(v) for v in heat(view, one).ravel()]
    if not sum(values):
        return math.nan
    return sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))


@oracle("effectivecomplexity")
def effectivecomplexity(view: Any, i: int, j: int, one: Any, threshold: float = 0.05) -> float:
    values = [abs(v) for v in heat(view, one).ravel()]
    return sum(v > np.float32(threshold) * max(values) for v in values) / len(values)
