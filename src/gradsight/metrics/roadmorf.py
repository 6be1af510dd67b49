"""ROAD, most relevant first."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.imputing import changes
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "roadmorf",
    title="ROAD (most relevant first)",
    source="arXiv:2202.00449",
    measures="faithfulness",
    better="lower",
    range=(-1, 1),
    needs=("probability",),
    cost=lambda targets, _method, *, steps, **_: targets * steps,
)
def roadmorf(
    case: Case, *, steps: Annotated[int, Whole(1)] = 9, noise: Annotated[float, Number(0, 10)] = 0.01
) -> NDArray[np.float64]:
    """Impute the hottest positions from those around them, and see how the probability changes (section 4).

    The mean over the shares s = i / (``steps`` + 1), i = 1 ... ``steps``, of p(x without the hottest s) - p(x). What is
    missing is imputed linearly, with a little noise, so that its shape tells nothing: where a hard edge is left, a
    model sees the mask. The paper gives the accuracy of the model at each share; a probability tells more of one image,
    and grad-cam takes it too.

    grad-cam's percentile is the share that is kept, and what ties there is removed, of a constant map all; here the
    number removed is the nearest to the share, and of equal values the first position goes first. NaN where a map is
    not finite.

    Args:
        case: the maps.
        steps: how many shares; 9 are 10 %, 20 % ... 90 %.
        noise: the deviation of the noise on what is imputed, in the units of the model's input; 0.01 as the authors'.
    """
    return case.known(changes(case, steps, noise, hottest=True))
