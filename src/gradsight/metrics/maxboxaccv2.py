"""MaxBoxAccV2."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.boxes import best_threshold, swept
from gradsight.metric_registry import metric
from gradsight.metric_sets import of_hits, of_sets
from gradsight.rules import Whole

_LEAST = (0.3, 0.5, 0.7)


def _together(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the overlaps that are asked for, each at the threshold that is best for it."""
    return np.asarray(np.mean([best_threshold(overlaps, least) for least in _LEAST], axis=0))


@metric(
    "maxboxaccv2",
    title="MaxBoxAccV2",
    source="arXiv:2007.04178",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("boxes",),
)
@of_sets(_together)
@of_hits
def maxboxaccv2(case: Case, *, thresholds: Annotated[int, Whole(2, 1000)] = 100) -> NDArray[np.float64]:
    """Draw boxes around all hot areas, and tell how well the best of them fits a box of the thing, at each threshold.

    Of a set of images the figure is the share whose box overlaps one of the thing's boxes by 0.3, 0.5 and 0.7 or more,
    each at the one threshold that is best for the set, and the mean of the three.

    Args:
        case: the maps.
        thresholds: how many shares of the map's maximum are tried, from 0 on, where the box is the whole picture.

    Returns:
        (n, k, thresholds): the overlap at each threshold.
    """
    return swept(case, thresholds)[1]
