"""Average sensitivity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.metric_registry import metric
from gradsight.metrics.maxsensitivity import gone_far
from gradsight.rules import Number, Whole


@metric(
    "averagesensitivity",
    title="Average sensitivity",
    source="arXiv:1901.09392",
    measures="stability",
    better="lower",
    range=(0, np.inf),
    needs=("method",),
    cost=lambda _targets, method, *, samples, **_: samples * method,
)
def averagesensitivity(
    case: Case,
    *,
    samples: Annotated[int, Whole(1)] = 10,
    radius: Annotated[float, Number(above=0)] = 0.02,
) -> NDArray[np.float64]:
    """Add a little noise, and see how far the map goes on average, as a share of the map itself.

    As `maxsensitivity`, with the mean over the noise in the place of its maximum, which more samples can only raise;
    the two share their passes.

    Args:
        case: the maps.
        samples: how many times noise is drawn.
        radius: the most that a value is changed by.
    """
    return case.known(gone_far(case, samples, radius).mean(axis=0))
