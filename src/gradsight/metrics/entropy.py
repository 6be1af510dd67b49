"""Entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from gradsight.cases import Case
from gradsight.metric_registry import metric


@metric(
    "entropy",
    title="Entropy (complexity)",
    source="arXiv:2005.00631",
    measures="complexity",
    better="lower",
    range=(0, np.inf),
)
def entropy(case: Case) -> NDArray[np.float64]:
    """Take the entropy of how a map's magnitude is spread over the picture: low where few positions hold it (def. 5).

    - sum p log p in nats, with p the magnitude at a position, of the map at the input's size, divided by the sum; at
    most the logarithm of the number of positions. It says nothing of the place: a shifted map has the same. NaN where
    the map is 0 everywhere or not finite.

    Args:
        case: the maps.
    """
    flat = np.abs(case.heat.reshape(*case.shape, -1).astype(np.float64))
    total = flat.sum(axis=-1, keepdims=True)
    shares = np.divide(flat, total, out=np.full_like(flat, np.nan), where=total > 0)
    return case.known(entr(shares).sum(axis=-1))
