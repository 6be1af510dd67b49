"""The local Lipschitz estimate."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.perturbing import explained_again, noisy
from gradsight.metric_registry import metric
from gradsight.metrics.maxsensitivity import apart
from gradsight.rules import Number, Whole


@metric(
    "lipschitz",
    title="Local Lipschitz estimate",
    source="arXiv:1806.08049",
    measures="stability",
    better="lower",
    range=(0, np.inf),
    needs=("method",),
    cost=lambda _targets, method, *, samples, **_: samples * method,
)
def lipschitz(
    case: Case,
    *,
    samples: Annotated[int, Whole(1)] = 10,
    radius: Annotated[float, Number(above=0)] = 0.1,
) -> NDArray[np.float64]:
    """Find the neighbour whose map is furthest away for how near the picture is (eq. 2).

    max over neighbours x' of (|map(x') - map(x)| / |map(x)|) / (|x' - x| / sqrt(d)), with Euclidean lengths, d values
    in the picture, and pictures from black, 0, to white, 1. The map's own length and the root are not in the paper:
    they make a figure that means the same for every method and input size, the share of itself that a map changes by
    for each unit of the mean change of a value. The paper searches for the worst neighbour by an optimiser; here it is
    the worst of ``samples``, drawn as in `maxsensitivity` with radii from ``radius / samples`` to ``radius``. NaN where
    the map is 0 everywhere or not finite.

    Args:
        case: the maps.
        samples: how many neighbours are drawn.
        radius: the most that a value is changed by.
    """
    scoring = case.scoring
    radii = [radius * (i + 1) / samples for i in range(samples)]
    again = explained_again(case, ("lipschitz", radius), samples, lambda i: noisy(scoring, i, radii[i])[0])
    moved = np.array([np.sqrt(np.square(noisy(scoring, i, radii[i])[1]).mean()) for i in range(samples)])
    return case.known((apart(case, again) / moved[:, None, None]).max(axis=0))
