"""ROAD, both orders in one figure."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.imputing import changes
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "road",
    title="ROAD (combined)",
    source="arXiv:2202.00449",
    measures="faithfulness",
    better="higher",
    range=(-1, 1),
    needs=("probability",),
    cost=lambda targets, _method, *, steps, **_: 2 * targets * steps,
)
def road(
    case: Case, *, steps: Annotated[int, Whole(1)] = 9, noise: Annotated[float, Number(0, 10)] = 0.01
) -> NDArray[np.float64]:
    """Impute the hottest positions, then the coldest, and take half the difference: (`roadlerf` - `roadmorf`) / 2.

    So grad-cam puts the two together. A map that says nothing, such as a random one, is near 0 whatever the model makes
    of pictures with holes. NaN where a map is not finite.

    Args:
        case: the maps.
        steps: how many shares; 9 are 10 %, 20 % ... 90 %.
        noise: the deviation of the noise on what is imputed, in the units of the model's input.
    """
    coldest, hottest = (changes(case, steps, noise, hottest=first) for first in (False, True))
    return case.known((coldest - hottest) / 2)
