"""Relevance rank accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import hottest_inside, located, things
from gradsight.metric_registry import metric


@metric(
    "relevancerank",
    title="Relevance rank accuracy",
    source="arXiv:2003.07258",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def relevancerank(case: Case) -> NDArray[np.float64]:
    """Take as many of the hottest positions as the thing has, and tell which share of them lies on it (eq. 2).

    Of positions that are equally hot, and of which only some are taken, each counts in part: the mean over all orders,
    and not what one order gives, which would change as the picture is mirrored.
    """
    shares = np.zeros(case.shape)
    for at, heat, region in things(case):
        shares[at] = hottest_inside(heat, region, int(region.sum()))
    return located(case, shares)
