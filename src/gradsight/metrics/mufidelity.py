"""MuFidelity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import BASELINE, Case
from gradsight.cases.subsets import Subsets, inside, lost_without, spearman
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "mufidelity",
    title="MuFidelity",
    source="arXiv:2005.00631",
    measures="faithfulness",
    better="higher",
    range=(-1, 1),
    needs=("logit",),
    cost=lambda _targets, _method, *, samples, **_: samples,
)
def mufidelity(
    case: Case,
    *,
    samples: Annotated[int, Whole(2)] = 200,
    cells: Annotated[int, Whole(1, 1000)] = 9,
    share: Annotated[float, Number(above=0, most=1)] = 0.2,
    baseline: Annotated[str, BASELINE] = "black",
) -> NDArray[np.float64]:
    """Take random patches away, and see whether the score falls in the order that the map says (definition 3).

    As `faithfulnesscorrelation`, with three changes that Xplique made: the picture is cut into ``cells`` x ``cells``
    patches, each of which is taken away with a chance of ``share``, and the correlation is Spearman's. Patches take
    away things, and not grains, and ranks need no straight line. NaN where either side is the same for all subsets
    (Xplique gives 0), or a map is not finite.

    Args:
        case: the maps.
        samples: how many subsets of patches.
        cells: patches along each axis; no more than there are positions.
        share: the chance of each patch.
        baseline: what is put in their place.
    """
    subsets = Subsets("cells", samples, share, cells)
    return case.known(spearman(inside(case, subsets), lost_without(case.scoring, subsets, baseline)))
