"""The energy-based pointing game."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import located, share_inside
from gradsight.metric_registry import metric


@metric(
    "energypointing",
    title="Energy-based pointing game",
    source="arXiv:1910.01279",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def energypointing(case: Case) -> NDArray[np.float64]:
    """Take the share of the map's sum that lies on the thing, values below 0 left out (section 4.3).

    A map with nothing over 0 puts nothing there: 0. A map that is the same everywhere gets the thing's share of the
    picture, which is what there is to beat: compare with it, since large things are easy.
    """
    return located(case, share_inside(case, np.clip(case.heat, 0, None)))
