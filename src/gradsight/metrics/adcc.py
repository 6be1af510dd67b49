"""ADCC."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.metric_registry import metric
from gradsight.metrics.averagedrop import averagedrop
from gradsight.metrics.coherency import coherency


@metric(
    "adcc",
    title="ADCC (average drop, coherency, complexity)",
    source="arXiv:2104.10252",
    measures="faithfulness",
    better="higher",
    range=(0, 1),
    needs=("probability", "method"),
    cost=lambda targets, method, **_: targets * (1 + method),
)
def adcc(case: Case, *, baseline: Annotated[str, BASELINE] = "black") -> NDArray[np.float64]:
    """Put average drop, coherency and complexity into one figure, the harmonic mean of how good each is (eq. 8).

    3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)), with complexity the mean of the map as it is
    drawn, in [0, 1] (its L1 norm over the number of positions, eq. 7); 0 where one of the three is as bad as can be.
    See `averagedrop` and `coherency`, whose passes are shared. grad-cam's ARCC is another figure: it has ROAD in the
    place of the average drop, see `arcc`. NaN where one of the three is.

    Args:
        case: the maps.
        baseline: what is seen where the map is 0.
    """
    drop, complexity = averagedrop(case, baseline=baseline), case.shown.mean(axis=tuple(range(2, case.shown.ndim)))
    return harmonic(coherency(case, baseline=baseline), 1 - complexity, 1 - drop)


def harmonic(*parts: NDArray[np.floating]) -> NDArray[np.float64]:
    """The harmonic mean; 0 where a part is 0, NaN where one is NaN."""
    stacked = np.stack([np.asarray(part, np.float64) for part in parts])
    with np.errstate(divide="ignore"):
        return np.asarray(len(parts) / (1 / np.where(stacked <= 0, 0.0, stacked)).sum(axis=0))
