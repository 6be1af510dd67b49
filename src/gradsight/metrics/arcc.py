"""ARCC."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.metric_registry import metric
from gradsight.metrics.adcc import harmonic
from gradsight.metrics.coherency import coherency
from gradsight.metrics.road import road
from gradsight.rules import Number, Whole


@metric(
    "arcc",
    title="ARCC (ROAD, coherency, complexity)",
    source="arXiv:2605.14641",
    measures="faithfulness",
    better="higher",
    range=(0, 1),
    needs=("probability", "method"),
    cost=lambda targets, method, *, steps, **_: targets * (2 * steps + method),
)
def arcc(
    case: Case,
    *,
    steps: Annotated[int, Whole(1)] = 9,
    noise: Annotated[float, Number(0, 10)] = 0.01,
    baseline: Annotated[str, BASELINE] = "black",
) -> NDArray[np.float64]:
    """Put ROAD, coherency and complexity into one figure: `adcc` with ROAD in the place of the average drop.

    3 / (1 / coherency + 1 / (1 - complexity) + 1 / clip(2 ROAD, 0, 1)). A picture times a map is one that no model has
    seen, and much of an average drop is due to that; ROAD shows pictures that look like pictures. NaN where one of the
    three is.

    Args:
        case: the maps.
        steps: of `road`.
        noise: of `road`.
        baseline: what is seen where the map is 0, for `coherency`.
    """
    removal = np.clip(2 * road(case, steps=steps, noise=noise), 0, 1)
    complexity = case.shown.mean(axis=tuple(range(2, case.shown.ndim)))
    return harmonic(coherency(case, baseline=baseline), 1 - complexity, removal)
