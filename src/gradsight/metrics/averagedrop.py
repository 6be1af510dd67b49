"""Average drop."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.masking import scores_through
from gradsight.metric_registry import metric


@metric(
    "averagedrop",
    title="Average drop",
    source="arXiv:1710.11063",
    measures="faithfulness",
    better="lower",
    range=(0, 1),
    needs=("probability",),
    cost=lambda targets, _method, **_: targets,
)
def averagedrop(case: Case, *, baseline: Annotated[str, BASELINE] = "black") -> NDArray[np.float64]:
    """Show the model the picture through the map, and see what share of the probability is lost (section 4.1).

    max(0, p - q) / p, with p the probability of the picture and q that of the picture times the map. The map is as it
    is drawn: negative values cut to 0, divided by its maximum, resized. The paper gives the mean over images, in
    percent.

    On black, the default, this is the photo times the map. Peers multiply what the model gets after normalisation,
    which shows the mean colour of the training set where the map is 0; grad-cam gives p - q undivided, Xplique takes
    the map's magnitudes, torchcam shifts its minimum to 0. A map of zeros shows nothing, a constant one everything. In
    worlds where the answer is known (docs/evaluate.md) it ranks the right map above noise in 80 % of images alone; in
    the others both lose nothing. NaN where p is not above 0, which happens where a target is no class, or a map is not
    finite.

    Args:
        case: the maps.
        baseline: what is seen where the map is 0.
    """
    before, after = case.scoring.unchanged("probability"), scores_through(case, baseline)
    share = np.divide(np.maximum(before - after, 0), before, out=np.full(case.shape, np.nan), where=before > 0)
    return case.known(share)
