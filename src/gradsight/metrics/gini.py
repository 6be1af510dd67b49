"""Sparseness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.metric_registry import metric


@metric(
    "gini",
    title="Sparseness (Gini index)",
    source="arXiv:1810.06583",
    measures="complexity",
    better="higher",
    range=(0, 1),
)
def gini(case: Case) -> NDArray[np.float64]:
    """See how unevenly a map's magnitude is spread over the picture: 0 where it is level, near 1 for a point.

    1 - 2 sum_k v_k / |v| (d - k + 1/2) / d, with v_1 <= ... <= v_d the magnitudes of the map at the input's size
    (definition 2.2). One position of d alone gives 1 - 1 / d. It says nothing of the place: a shifted map has the same.
    NaN where the map is 0 everywhere (for which Xplique gives -1.25 of four positions) or not finite.

    Args:
        case: the maps.
    """
    flat = np.sort(np.abs(case.heat.reshape(*case.shape, -1).astype(np.float64)), axis=-1)
    count = flat.shape[-1]
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    total = flat.sum(axis=-1)
    return case.known(1 - 2 * np.divide(flat @ weights, total, out=np.full(case.shape, np.nan), where=total > 0))
