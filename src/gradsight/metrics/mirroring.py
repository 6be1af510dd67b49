"""Equivariance under mirroring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.perturbing import explained_again
from gradsight.cases.subsets import pearson
from gradsight.metric_registry import metric


@metric(
    "mirroring",
    title="Equivariance under mirroring",
    source="arXiv:2304.06715",
    measures="stability",
    better="higher",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method: method,
)
def mirroring(case: Case) -> NDArray[np.float64]:
    """Mirror the picture from left to right, and see whether the map is mirrored too.

    Pearson's correlation, over all positions, of the raw map with that of the mirrored picture, mirrored back. The
    target stays the same. A low figure may be the model's own doing, where it reads the mirrored picture as something
    else: then methods are compared with each other, not with 1. NaN where a map is constant or not finite.

    Args:
        case: the maps.
    """
    scoring = case.scoring
    again = explained_again(case, "mirrored", 1, lambda _: scoring.ops.flip(scoring.images, axis=-1))[0]
    return case.known(pearson(case.flat, np.flip(again, axis=-1).reshape(case.flat.shape)))
