"""Insertion."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.curves import area, counts_of, scores_without
from gradsight.metric_registry import metric
from gradsight.rules import Whole


@metric(
    "insertion",
    title="Insertion",
    source="arXiv:1806.07421",
    measures="faithfulness",
    better="higher",
    range=(0, 1),
    needs=("probability",),
    cost=lambda targets, _method, *, steps, **_: targets * (steps - 1) + 1,
)
def insertion(
    case: Case, *, steps: Annotated[int, Whole(1)] = 28, baseline: Annotated[str, BASELINE] = "blur"
) -> NDArray[np.float64]:
    """Put the hottest positions back first, and see how fast the probability rises: the area under it (section 3.3).

    With p(s) the probability once a share s of the positions is back in a picture from which all were taken away, the
    area is the integral of p over s from 0 to 1; see `deletion` for steps, equal values and NaN.

    The paper begins with a blurred picture, since sharp edges between what is back and what is not would look like
    things; torchcam and Xplique begin with 0. In worlds where the answer is known (docs/evaluate.md) it ranks the right
    map above a shifted one in 62 % of images, above an inverted one or noise in 75 %: a blurred red thing is still red.
    With ``baseline=black`` it does so in all.

    Args:
        case: the maps.
        steps: in how many steps everything is back.
        baseline: what the picture is at first.
    """
    counts = counts_of(steps, case.ranks[0, 0].size)
    # Those that are not back yet are the coldest ones.
    gone = [counts[-1] - back for back in counts]
    return case.known(area(scores_without(case, gone, baseline, "probability", hottest=False), counts))
