"""Where the heat is: the hottest point and the area around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import InvalidArgument, received


@dataclass(frozen=True)
class Region:
    """The hottest part of a heatmap, in pixels of the picture it covers.

    Attributes:
        peak: (row, column) of the hottest pixel.
        box: (top, left, bottom, right) of the connected hot area around the peak; bottom and right are exclusive.
        area: share of the whole picture that is hot, connected to the peak or not, in [0, 1].
    """

    peak: tuple[int, int]
    box: tuple[int, int, int, int]
    area: float


def region(heatmap: NDArray[Any], threshold: float = 0.5) -> Region | None:
    """Find the hottest part of a heatmap.

    Args:
        heatmap: (H, W) in [0, 1]; NaN and infinite values count as 0.
        threshold: hot is what reaches this share of the maximum, in (0, 1].

    Returns:
        The region, or None where nothing is over 0.

    Raises:
        InvalidArgument: another shape, or a threshold outside (0, 1].
    """
    from scipy import ndimage

    if heatmap.ndim != 2 or heatmap.size == 0:
        raise InvalidArgument(f"heatmap must have the shape (H, W). {received(heatmap)} Pick one image and one target.")
    if not 0 < threshold <= 1:
        raise InvalidArgument(f"threshold must lie in (0, 1]. {received(threshold)} Pass 0.5.")
    heat = np.nan_to_num(heatmap, nan=0.0, posinf=0.0, neginf=0.0)
    highest = heat.max()
    if not highest > 0:
        return None
    peak = _peak(heat, highest)
    hot = heat >= threshold * highest
    labels, _ = ndimage.label(hot, structure=np.ones((3, 3)))
    rows, columns = ndimage.find_objects(labels)[labels[peak] - 1]
    return Region(peak, (rows.start, columns.start, rows.stop, columns.stop), float(hot.mean()))


def _peak(heat: NDArray[Any], highest: float) -> tuple[int, int]:
    """(row, column) of the maximum; of several, the one nearest to their mean."""
    from scipy import ndimage

    tied = heat == highest
    row, column = ndimage.center_of_mass(tied)
    down, across = np.arange(heat.shape[0]) - row, np.arange(heat.shape[1]) - column
    distance = np.where(tied, (down**2)[:, None] + (across**2)[None, :], np.inf)
    peak = np.unravel_index(int(distance.argmin()), heat.shape)
    return int(peak[0]), int(peak[1])
