"""Average gain."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.masking import scores_through
from gradsight.metric_registry import metric


@metric(
    "averagegain",
    title="Average gain",
    source="arXiv:2301.07002",
    measures="faithfulness",
    better="higher",
    range=(0, 1),
    needs=("probability",),
    cost=lambda targets, _method, **_: targets,
)
def averagegain(case: Case, *, baseline: Annotated[str, BASELINE] = "black") -> NDArray[np.float64]:
    """Show the model the picture through the map, and see what share of its doubt is gone (Opti-CAM, eq. 15).

    max(0, q - p) / (1 - p), with p the probability of the picture and q that of the picture times the map: the
    counterpart of average drop, see `averagedrop` for how the picture is shown. The paper gives the mean over images,
    in percent. In worlds where the answer is known (docs/evaluate.md) it ranks the right map above noise in 93 % of
    images. NaN where p is not below 1, where there is nothing to gain, or a map is not finite.

    Args:
        case: the maps.
        baseline: what is seen where the map is 0.
    """
    before, after = case.scoring.unchanged("probability"), scores_through(case, baseline)
    gained = np.maximum(after - before, 0)
    return case.known(np.divide(gained, 1 - before, out=np.full(case.shape, np.nan), where=before < 1))
