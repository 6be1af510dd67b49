"""The pointing game."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import located, things
from gradsight.metric_registry import metric
from gradsight.metric_sets import of_hits
from gradsight.rules import Number


@metric(
    "pointing",
    title="Pointing game",
    source="arXiv:1608.00507",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
@of_hits
def pointing(case: Case, *, tolerance: Annotated[float, Number(0, 10_000)] = 0) -> NDArray[np.float64]:
    """Tell whether the hottest position lies on the thing: 1 for a hit, 0 for a miss.

    Of several that are equally hot one on the thing is enough. A map of one value, or with nothing over 0, points
    nowhere and misses: where all positions are equally hot, each would hit. In worlds where the answer is known
    (docs/evaluate.md) it ranks the right map above noise in 90 % of images: the peak of noise hits by chance.

    Args:
        case: the maps.
        tolerance: a peak so many pixels of the model's input beside the thing hits too. The paper's is 15, of photos.
    """
    hits = np.zeros(case.shape)
    for at, heat, region in things(case):
        highest = heat.max()
        if highest > max(heat.min(), 0):
            hits[at] = _near(region, tolerance)[heat == highest].any()
    return located(case, hits)


def _near(region: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Where the distance to the thing is within the tolerance, from centre to centre of pixels."""
    from scipy import ndimage

    if not tolerance:
        return region
    return np.asarray(ndimage.distance_transform_edt(~region) <= tolerance)
