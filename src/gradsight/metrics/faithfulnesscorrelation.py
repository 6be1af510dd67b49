"""Faithfulness correlation."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.subsets import Subsets, inside, lost_without, pearson
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "faithfulnesscorrelation",
    title="Faithfulness correlation",
    source="arXiv:2005.00631",
    measures="faithfulness",
    better="higher",
    range=(-1, 1),
    needs=("logit",),
    cost=lambda _targets, _method, *, samples, **_: samples,
)
def faithfulnesscorrelation(
    case: Case,
    *,
    samples: Annotated[int, Whole(2)] = 100,
    share: Annotated[float, Number(above=0, most=1)] = 0.1,
    baseline: Annotated[str, BASELINE] = "black",
) -> NDArray[np.float64]:
    """Take random positions away, and see whether the score falls as the map says (definition 3).

    Pearson's correlation, over random subsets S of one size, of the sum of the map over S with f(x) - f(x without S).
    The map is signed, at the input's size. Subsets are drawn position by position, the same ones for every image,
    target and method, so that they pass the model once for all methods. NaN where either side is the same for all
    subsets, as for a constant map (Xplique's kin gives 0 there), or a map is not finite.

    Args:
        case: the maps.
        samples: how many subsets.
        share: their size, as a share of all positions.
        baseline: what is put in their place.
    """
    subsets = Subsets("positions", samples, share)
    return case.known(pearson(inside(case, subsets), lost_without(case.scoring, subsets, baseline)))
