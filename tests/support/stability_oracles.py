"""Metrics of stability once more: the method's own oracle on one changed picture after the other, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metric_oracles import BLACK, WHITE, heat, oracle, pearson
from oracles import ORACLES as METHODS
from plain import Plain


def mapped(view: Any, i: int, j: int, image: Any) -> Any:
    """Grad-CAM of another picture in the place of one, for the same target."""
    other = Plain(view._model, view._names, np.ascontiguousarray(image)[None], [list(view.classes[i])])
    return METHODS["gradcam"](other)[0, j]


def drawn(view: Any, number: int, radius: float) -> Any:
    return np.random.default_rng((0, 3, number)).uniform(-radius, radius, view.images.shape[1:])


def length(values: Any) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in np.ravel(values)))


def changes(view: Any, i: int, j: int, one: Any, radii: list[float]) -> list[tuple[float, Any]]:
    """By radius: how far the map goes, as a share of itself, and the noise."""
    found = []
    for number, radius in enumerate(radii):
        noise = drawn(view, number, radius)
        again = mapped(view, i, j, view.images[i] + noise * (WHITE - BLACK))
        share = length(again - one) / length(one) if length(one) else math.nan
        found.append((share, noise))
    return found


@oracle("maxsensitivity")
def maxsensitivity(view: Any, i: int, j: int, one: Any, samples: int = 10, radius: float = 0.02) -> float:
    return max(share for share, _ in changes(view, i, j, one, [radius] * samples))


@oracle("averagesensitivity")
def averagesensitivity(view: Any, i: int, j: int, one: Any, samples: int = 10, radius: float = 0.02) -> float:
    return float(np.mean([share for share, _ in changes(view, i, j, one, [radius] * samples)]))


@oracle("lipschitz")
def lipschitz(view: Any, i: int, j: int, one: Any, samples: int = 10, radius: float = 0.1) -> float:
    radii = [radius * (number + 1) / samples for number in range(samples)]
    found = changes(view, i, j, one, radii)
    return max(share / (length(noise) / math.sqrt(noise.size)) for share, noise in found)


@oracle("mirroring")
def mirroring(view: Any, i: int, j: int, one: Any) -> float:
    return pearson(one, mapped(view, i, j, view.images[i][..., ::-1])[..., ::-1])


@oracle("shifting")
def shifting(view: Any, i: int, j: int, one: Any, share: float = 0.05) -> float:
    image, size = view.images[i], view.images.shape[2:]
    far = max(1, round(share * min(size)))
    found = []
    for offset in (far, -far):
        other = np.empty_like(image)
        for at in np.ndindex(*size):
            source = tuple(min(max(p - offset, 0), side - 1) for p, side in zip(at, size, strict=True))
            other[(slice(None), *at)] = image[(slice(None), *source)]
        before, after = heat(view, one), heat(view, mapped(view, i, j, other))
        pairs = []
        for at in np.ndindex(*size):
            there = tuple(p + offset for p in at)
            if all(0 <= p < side for p, side in zip(there, size, strict=True)):
                pairs.append((before[at], after[there]))
        found.append(pearson(*zip(*pairs, strict=True)))
    return float(np.mean(found))
