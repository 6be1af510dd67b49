"""Coherency."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.masking import explained_through
from gradsight.cases.subsets import pearson
from gradsight.metric_registry import metric


@metric(
    "coherency",
    title="Coherency",
    source="arXiv:2104.10252",
    measures="stability",
    better="higher",
    range=(0, 1),
    needs=("method",),
    cost=lambda targets, method, **_: targets * method,
)
def coherency(case: Case, *, baseline: Annotated[str, BASELINE] = "black") -> NDArray[np.float64]:
    """Explain the picture seen through its map: a map that holds what matters stays as it is (eq. 6).

    (r + 1) / 2, with r Pearson's correlation of the map and of the map of the picture times it, both as they are drawn,
    negative values cut to 0, at the input's size. The picture is shown as in `averagedrop`. NaN where a map is
    constant (as drawn: nowhere above 0) or not finite.

    Args:
        case: the maps.
        baseline: what is seen where the map is 0.
    """
    maps, again = case.shown.reshape(*case.shape, -1), explained_through(case, baseline).reshape(*case.shape, -1)
    return case.known((pearson(maps, again) + 1) / 2)
