"""How alike two maps of one picture are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.subsets import spearman
from gradsight.rules import Choice

BY = Choice(("spearman", "ssim"), "measure")
VALUES = Choice(("signed", "absolute"), "values")

_DEVIATION, _REACH = 1.5, 5
"""Of the bell that local means are taken with: 11 x 11 positions (Wang et al., IEEE TIP 2004)."""

_STEADY = (0.01**2, 0.03**2)
"""What keeps the two quotients from a division by 0, for maps in [0, 1] (the same paper)."""


def ranks_alike(maps: NDArray[np.floating], others: NDArray[np.floating], values: str) -> NDArray[np.float64]:
    """Spearman's correlation of raw maps (..., n, k, *s) with others: (..., n, k).

    It is 0 where the other map is level: nothing of the order is left. NaN where the map itself is.
    """
    flat = [x.reshape(*x.shape[: x.ndim - _positions(maps)], -1).astype(np.float64) for x in (maps, others)]
    if values == "absolute":
        flat = [np.abs(x) for x in flat]
    first = np.broadcast_to(flat[0], flat[1].shape)
    found = spearman(first, flat[1])
    level = np.isfinite(flat[1]).all(axis=-1) & (np.ptp(flat[1], axis=-1) == 0)
    return np.where(level & (np.ptp(first, axis=-1) > 0), 0.0, found)


def _positions(maps: NDArray[np.floating]) -> int:
    return maps.ndim - 2


def structure_alike(shown: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """The structural similarity of maps (n, k, *positions) in [0, 1] with others (..., n, k, *positions): (..., n, k).

    The mean over positions of (2 m m' + a) (2 v + b) / ((m^2 + m'^2 + a) (s^2 + s'^2 + b)), with local means m,
    variances s^2 and covariance v under a bell of deviation 1.5 that is cut off at 5 positions (Wang et al., Image
    quality assessment: from error visibility to structural similarity, IEEE TIP 2004).
    """
    from scipy import ndimage

    axes = tuple(range(-(shown.ndim - 2), 0))

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(values, _DEVIATION, mode="reflect", radius=_REACH, axes=axes))

    a, b = (np.asarray(x, np.float64) for x in (shown, others))
    mean_a, mean_b = local(a), local(b)
    spread_a, spread_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    together = local(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _STEADY[0]) * (2 * together + _STEADY[1])
    below = (mean_a**2 + mean_b**2 + _STEADY[0]) * (spread_a + spread_b + _STEADY[1])
    return np.asarray((above / below).mean(axis=axes))
