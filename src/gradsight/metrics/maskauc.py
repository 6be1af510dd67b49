"""The area under the ROC curve of a map against a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import located, things
from gradsight.metric_registry import metric


@metric(
    "maskauc",
    title="Mask AUC",
    source="doi:10.1016/j.patrec.2005.10.010",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def maskauc(case: Case) -> NDArray[np.float64]:
    """Take how often a position on the thing is hotter than one beside it: the area under the ROC curve.

    Pairs that are equally hot count half. By chance it is 0.5, whatever the thing's size. There is none where the thing
    fills the picture. All values count, those below 0 too.
    """
    areas = np.full(case.shape, np.nan)
    for at, heat, region in things(case):
        areas[at] = _area(heat, region)
    return located(case, areas)


def _area(heat: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    from scipy import stats

    inside, outside = int(region.sum()), int((~region).sum())
    if not outside:
        return np.nan
    # The sum of the ranks inside says how many pairs are won (Mann and Whitney 1947): no curve has to be made.
    ranks = stats.rankdata(heat).reshape(heat.shape)
    return float((ranks[region].sum() - inside * (inside + 1) / 2) / (inside * outside))
