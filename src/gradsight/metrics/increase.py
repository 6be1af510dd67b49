"""Increase in confidence."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.masking import scores_through
from gradsight.metric_registry import metric
from gradsight.metric_sets import of_hits


@metric(
    "increase",
    title="Increase in confidence",
    source="arXiv:1710.11063",
    measures="faithfulness",
    better="higher",
    range=(0, 1),
    needs=("probability",),
    cost=lambda targets, _method, **_: targets,
)
@of_hits
def increase(case: Case, *, baseline: Annotated[str, BASELINE] = "black") -> NDArray[np.float64]:
    """Show the model the picture through the map: 1 where it is surer than of the whole picture, else 0 (section 4.1).

    The paper gives the mean over images, in percent. See `averagedrop`, of whose passes it needs no others, for how the
    picture is shown, and how peers do it. In worlds where the answer is known (docs/evaluate.md) it ranks the right map
    above noise in 78 % of images; in the others both have the same figure. NaN where a map is not finite, or the
    model's score is not.

    Args:
        case: the maps.
        baseline: what is seen where the map is 0.
    """
    before, after = case.scoring.unchanged("probability"), scores_through(case, baseline)
    return case.known(np.where(np.isfinite(before + after), after > before, np.nan))
