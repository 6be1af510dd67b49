"""Effective complexity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.metric_registry import metric
from gradsight.rules import Number


@metric(
    "effectivecomplexity",
    title="Effective complexity",
    source="arXiv:2007.07584",
    measures="complexity",
    better="lower",
    range=(0, 1),
)
def effectivecomplexity(case: Case, *, threshold: Annotated[float, Number(0, 1)] = 0.05) -> NDArray[np.float64]:
    """Count the positions that matter to a map: the share whose magnitude is over a threshold.

    The paper (section 3.2) orders features by their magnitude and counts how many cannot be left out; Quantus counts
    those over 1e-5 in a map divided by its maximum. Here it is a share of all positions, so that pictures of several
    sizes can be compared, and the threshold is one that the eye sees: a map enlarged from 7 x 7 is over 1e-5 nearly
    everywhere. It says nothing of the place: a shifted map has the same. 0 for a map of zeros; NaN where it is not
    finite.

    Args:
        case: the maps.
        threshold: as a share of the map's largest magnitude.
    """
    flat = np.abs(case.heat.reshape(*case.shape, -1))
    return case.known((flat > threshold * flat.max(axis=-1, keepdims=True)).mean(axis=-1))
