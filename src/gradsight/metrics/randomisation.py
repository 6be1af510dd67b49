"""Model parameter randomisation (cascading)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.alike import BY, VALUES
from gradsight.cases.unlearned import alike_after
from gradsight.metric_registry import metric
from gradsight.rules import Whole


@metric(
    "randomisation",
    title="Model parameter randomisation (cascading)",
    source="arXiv:1810.03292",
    measures="sanity",
    better="lower",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method, *, steps, **_: 1 + steps * method,
)
def randomisation(
    case: Case,
    *,
    by: Annotated[str, BY] = "spearman",
    values: Annotated[str, VALUES] = "signed",
    steps: Annotated[int, Whole(1)] = 5,
) -> NDArray[np.float64]:
    """Take what the model has learned away, from the output on: a map that stays tells nothing of it (section 3).

    Part by part, beside all before, layers get random weights; the figure is the mean over the parts of how alike the
    map of the same target then is to the map itself: 1 for a method that does not look at the model, as an edge
    detector, about 0 for one that depends on all that was learned. Kernels become normal numbers with their own mean
    and deviation, biases and scales change places, statistics of normalisations stay; what is drawn is the same for
    every image and method. The user's model stays as it is: a view of it has the other weights. The passes are those of
    the method for each part, and one of one image that finds the order of the layers.

    By ``"spearman"``, the correlation of the ranks of all positions, of raw maps at the layer's resolution. It is
    signed: a map that speaks against what it spoke for is another map, where magnitudes (``values=absolute``, as the
    paper has them too) would call it the same. It is 0 where nothing is left of the map, a level one. By ``"ssim"``,
    the structural similarity (Wang et al. 2004) of maps as they are drawn, in [0, 1] at the input's size: what a reader
    would take for the same picture, high for any two smooth maps of one place. NaN where the map is level (by SSIM:
    nowhere above 0) or not finite.

    Args:
        case: the maps.
        by: ``"spearman"`` or ``"ssim"``.
        values: ``"signed"`` or ``"absolute"``; for Spearman's correlation.
        steps: in how many parts of about as many layers the model is taken; a part is a pass of the method.
    """
    return alike_after(case, "cascading", steps, by, values)
