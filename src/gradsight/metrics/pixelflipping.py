"""Pixel flipping."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.curves import counts_of, scores_without
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "pixelflipping",
    title="Pixel flipping (AOPC)",
    source="arXiv:1509.06321",
    measures="faithfulness",
    better="higher",
    needs=("logit",),
    cost=lambda targets, _method, *, steps, **_: targets * steps,
)
def pixelflipping(
    case: Case,
    *,
    steps: Annotated[int, Whole(1)] = 10,
    share: Annotated[float, Number(above=0, most=1)] = 0.2,
    baseline: Annotated[str, BASELINE] = "noise",
) -> NDArray[np.float64]:
    """Take the hottest positions away first, and see how far the score falls on the way (AOPC, eq. 12).

    The mean over l = 0 ... L of f(x) - f(x_l), where after step l the hottest l / L of ``share`` of the positions are
    gone: the first term is 0. Positions are flipped one by one, as in pixel flipping (Bach et al. 2015,
    doi:10.1371/journal.pone.0130140); the paper's regions of 9 x 9 pixels, 100 steps of them, are 16 % of its pictures.
    It looks at the beginning of a deletion alone, and at logits. Quantus gives f itself, leaves the start out, and sums
    trapezoids of width 1. NaN where a map is not finite.

    Args:
        case: the maps.
        steps: L.
        share: the share of all positions that is gone in the end.
        baseline: what is put in their place; the paper draws random colours.
    """
    positions = math.prod(case.size)
    counts = counts_of(steps, max(1, round(share * positions)))
    scores = scores_without(case, counts, baseline, "logit")
    return case.known(scores[0] - scores.mean(axis=0))
