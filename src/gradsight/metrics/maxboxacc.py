"""MaxBoxAcc."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.boxes import best_threshold, swept
from gradsight.metric_registry import metric
from gradsight.metric_sets import of_hits, of_sets
from gradsight.rules import Whole


@metric(
    "maxboxacc",
    title="MaxBoxAcc",
    source="arXiv:2007.04178",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("boxes",),
)
@of_sets(partial(best_threshold, least=0.5))
@of_hits
def maxboxacc(case: Case, *, thresholds: Annotated[int, Whole(2, 1000)] = 100) -> NDArray[np.float64]:
    """Draw a box around the largest hot area, and tell how well it fits a box of the thing, at each threshold.

    Of a set of images the figure is the share whose box overlaps one of the thing's boxes by half or more (intersection
    over union), at the one threshold that is best for the set. An image alone has no figure, only overlaps.

    Args:
        case: the maps.
        thresholds: how many shares of the map's maximum are tried, from 0 on, where the box is the whole picture. The
            paper's authors try 1000, on maps of 256 levels.

    Returns:
        (n, k, thresholds): the overlap at each threshold.
    """
    return swept(case, thresholds)[0]
