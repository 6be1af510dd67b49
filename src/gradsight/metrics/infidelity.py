"""Infidelity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.subsets import Subsets, inside, lost_without
from gradsight.metric_registry import metric
from gradsight.rules import Choice, Whole


@metric(
    "infidelity",
    title="Infidelity",
    source="arXiv:1901.09392",
    measures="faithfulness",
    better="lower",
    range=(0, np.inf),
    needs=("logit",),
    cost=lambda _targets, _method, *, samples, **_: samples,
)
def infidelity(
    case: Case,
    *,
    samples: Annotated[int, Whole(1)] = 50,
    factor: Annotated[str, Choice(("best", "one"), "factor")] = "best",
    baseline: Annotated[str, BASELINE] = "black",
) -> NDArray[np.float64]:
    """Take random squares away, and see how far the sum of the map there is from what the score loses (eq. 1).

    The mean over squares S of (b sum_S map - (f(x) - f(x without S)))^2, in units of the score squared. A map speaks of
    contributions, as gradient times input does, so that the change that the paper multiplies it with is 1 in the square
    and 0 elsewhere (its "global" explanations; captum's ``multiply_by_inputs``). Maps have no unit: b is the factor
    that makes the figure smallest, as with captum's ``normalize=True``; ``factor='one'`` leaves the map as it is.
    Squares are the same for every image, target and method, so that they pass the model once for all methods. A map of
    zeros gives the mean square of the losses. NaN where a map is not finite.

    Args:
        case: the maps.
        samples: how many squares.
        factor: ``"best"`` or ``"one"``.
        baseline: what is put in their place.
    """
    subsets = Subsets("squares", samples)
    told, lost = inside(case, subsets), lost_without(case.scoring, subsets, baseline)
    above, below = (told * lost).sum(axis=-1, keepdims=True), np.square(told).sum(axis=-1, keepdims=True)
    best = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return case.known(np.square((best if factor == "best" else 1) * told - lost).mean(axis=-1))
