"""How the heat of a map is spread: how much of it lies at the border, and over how many positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from gradsight.imaging import nan_to_zero

_OUTER = 0.1
"""Of a side of the input, at either end: what lies there is the border."""


class Concentration(NamedTuple):
    """How the heat of one map lies; None where there is none.

    Attributes:
        border: the share that lies in the outer tenth of the input, in [0, 1]. A map that is even has 1 - 0.8^2 = 0.36
            there: much more says that the model looks at the frame, a watermark, or what was padded.
        entropy: - sum p log p, with p the share of a position, divided by the logarithm of their number, in [0, 1]: 0
            where one position holds all, 1 where all hold the same.
    """

    border: float | None
    entropy: float | None


def concentrations_of(maps: NDArray[np.floating], signed: NDArray[np.bool_] | Sequence[bool]) -> list[Concentration]:
    """How the heat of maps is spread: of a signed map its magnitude counts, of another one what is over 0.

    Args:
        maps: (k, *s), or (e, k, *s) of several explanations, raw; NaN and infinite values count as 0. A cell counts as
            evenly filled.
        signed: (k,) or (e, k), of each map.

    Returns:
        One for each map, in their order.

    >>> concentrations_of(np.ones((1, 10, 10)), [False])
    [Concentration(border=0.36, entropy=1.0)]
    """
    signed = np.asarray(signed)
    axes = maps.ndim - signed.ndim
    values = nan_to_zero(maps).astype(np.float64)
    heat = values.clip(0, None)
    if signed.any():
        heat = np.where(signed.reshape(*signed.shape, *(1,) * axes), np.abs(values), heat)
    flat = heat.reshape(signed.size, -1)
    totals = flat.sum(axis=1)
    inner = heat
    for length in reversed(maps.shape[signed.ndim :]):
        inner = inner @ _inside(length)
    shares = flat / np.where(totals > 0, totals, 1)[:, None]
    # One position alone is neither spread nor dense.
    most = math.log(flat.shape[1]) or 1.0
    entropies = entr(shares).sum(axis=1) / most
    return [
        Concentration(round(min(max(1 - part / total, 0.0), 1.0), 6), round(min(entropy, 1.0), 6))
        if total > 0
        else Concentration(None, None)
        for part, total, entropy in zip(inner.ravel().tolist(), totals.tolist(), entropies.tolist(), strict=True)
    ]


@lru_cache(maxsize=16)
def _inside(cells: int) -> NDArray[np.float64]:
    """How much of each cell of a side lies inside of the border, (cells,)."""
    edges = np.arange(cells + 1) / cells
    clipped = edges.clip(_OUTER, 1 - _OUTER)
    # Cells of a coarse map are cut: of seven, the outer ones lie in the border by seven tenths.
    return np.diff(clipped) * cells
