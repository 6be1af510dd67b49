"""Intersection over union of the hot area and the thing."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.cases import Case
from gradsight.cases.located import located, things
from gradsight.metric_registry import metric
from gradsight.rules import Number


@metric(
    "iou",
    title="Intersection over union",
    source="arXiv:1610.02391",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def iou(case: Case, *, threshold: Annotated[float, Number(above=0, most=1)] = 0.5) -> NDArray[np.float64]:
    """Divide what the hot area and the thing share by what they cover together.

    Args:
        case: the maps.
        threshold: hot is what reaches this share of the map's maximum, as in `Explanation.mask`; where nothing is over
            0, nothing is hot. The Grad-CAM paper takes 0.15 for its boxes (section 4.1). On 102 COCO photos with the
            demo model Grad-CAM is best at 0.15 to 0.2 (0.36; 0.28 at 0.5), FullGrad at 0.4: no one is fair to all.
    """
    values = np.zeros(case.shape)
    for at, heat, region in things(case):
        hot = imaging.hot(heat, threshold)
        values[at] = (hot & region).sum() / (hot | region).sum()
    return located(case, values)
