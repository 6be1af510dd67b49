"""Deletion."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.curves import area, counts_of, scores_without
from gradsight.metric_registry import metric
from gradsight.rules import Whole


@metric(
    "deletion",
    title="Deletion",
    source="arXiv:1806.07421",
    measures="faithfulness",
    better="lower",
    range=(0, 1),
    needs=("probability",),
    cost=lambda targets, _method, *, steps, **_: targets * (steps - 1) + 1,
)
def deletion(
    case: Case, *, steps: Annotated[int, Whole(1)] = 28, baseline: Annotated[str, BASELINE] = "black"
) -> NDArray[np.float64]:
    """Take the hottest positions away first, and see how fast the probability falls: the area under it (section 3.3).

    With p(s) the probability once a share s of the positions is gone, the area is the integral of p over s from 0 to
    1, by trapezoids between ``steps`` + 1 shares, the first 0 and the last 1. A target that is no class has no
    probability: its score is taken, and the area has no bounds.

    Where the steps do not divide the positions, each share is the nearest there is, and trapezoids are as wide as the
    shares are apart: torchcam rounds its step up, and Xplique takes all steps for equally wide. Of equal values the
    first position goes first. NaN where a map is not finite. In worlds where the answer is known (docs/evaluate.md) it
    ranks the right map above noise in 90 % of images, on the mean colour in 80 %: noise takes a little of everything.

    Args:
        case: the maps.
        steps: in how many steps everything goes; 28 steps are 28 passes, the last of which all maps share.
        baseline: what is put in their place. The paper's authors take 0 after normalisation, which is the mean colour
            of ImageNet there: ``"mean"`` is close to that, with the image's own mean.
    """
    counts = counts_of(steps, case.ranks[0, 0].size)
    return case.known(area(scores_without(case, counts, baseline, "probability"), counts))
