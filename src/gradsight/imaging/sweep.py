"""Boxes around hot areas at many thresholds, held against boxes that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.imaging.resample import Floats

Corners = NDArray[np.float64]
"""(b, 4): (top, left, bottom, right), bottom and right exclusive."""

_CORNERS = np.ones((3, 3), bool)
"""Neighbours of a position: those at its corners too."""


def overlaps(boxes: Corners, others: Corners) -> NDArray[np.float64]:
    """The intersection over union of each box with each of the others, (b, o); 0 where both are empty."""
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = _areas(boxes)[:, None] + _areas(others)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def swept(heat: Floats, boxes: Corners, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well boxes around what is hot fit boxes that are known, at each of many thresholds.

    Hot is what reaches a share of the maximum: 0, 1 / steps, ... (steps - 1) / steps. At 0 that is the whole picture.
    Areas that touch at a corner are one.

    Args:
        heat: (h, w), not negative; at least one value over 0.
        boxes: (b, 4), those that are known; at least one.
        steps: how many thresholds.

    Returns:
        (steps,) of the box around the largest hot area, its best overlap with a known box (of several areas that are
        equally large, that of the box that fits best); and (steps,) the best overlap of the box of any area.
    """
    from scipy import ndimage

    largest, best = np.zeros(steps), np.zeros(steps)
    top = left = 0
    # How many thresholds each position reaches: small whole numbers are compared quicker than floats, and as exactly.
    reached = np.searchsorted(np.arange(steps) / steps, heat / heat.max(), side="right").astype(np.int16)
    for step in range(steps):
        hot = reached > step
        rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
        # What is hot at one threshold was hot at the one before: the search narrows as it goes on.
        inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        reached, top, left = reached[inside], top + int(rows[0]), left + int(columns[0])
        labels, count = ndimage.label(hot[inside], structure=_CORNERS)
        found = _corners(ndimage.find_objects(labels)) + np.array([top, left, top, left])
        fits = overlaps(found, boxes).max(axis=1)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        largest[step], best[step] = fits[sizes == sizes.max()].max(), fits.max()
    return largest, best


def _corners(sides: list[tuple[slice, ...]]) -> Corners:
    """(b, 4) of boxes as pairs of slices."""
    return np.array([(down.start, across.start, down.stop, across.stop) for down, across in sides], np.float64)


def _areas(boxes: Corners) -> NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
