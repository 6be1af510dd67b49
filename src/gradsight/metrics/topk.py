"""Top-k intersection."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import hottest_inside, located, things
from gradsight.metric_registry import metric
from gradsight.rules import Whole


@metric(
    "topk",
    title="Top-k intersection",
    source="arXiv:2104.14995",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def topk(case: Case, *, k: Annotated[int, Whole(1)] = 1000) -> NDArray[np.float64]:
    """Tell which share of the k hottest positions lies on the thing; of equally hot ones each counts in part.

    Args:
        case: the maps.
        k: how many positions of the model's input; all of them where it has fewer.
    """
    shares = np.zeros(case.shape)
    for at, heat, region in things(case):
        shares[at] = hottest_inside(heat, region, min(k, heat.size))
    return located(case, shares)
