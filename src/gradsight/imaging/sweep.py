"""Boxes around hot areas at many thresholds, held against boxes that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.imaging.resample import Floats

Corners = NDArray[np.float64]
"""(b, 4): (top, left, bottom, right), bottom and right exclusive."""


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
    corner = np.zeros(2)
    part = heat / heat.max()
    for step in range(steps):
        # What is hot at one threshold was hot at the one before: the search narrows as it goes on.
        part, corner = _narrowed(part, corner, step / steps)
        labels, count = ndimage.label(part >= step / steps, structure=np.ones((3, 3)))
        found = _corners(ndimage.find_objects(labels)) + np.tile(corner, 2)
        fits = overlaps(found, boxes).max(axis=1)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        largest[step], best[step] = fits[sizes == sizes.max()].max(), fits.max()
    return largest, best


def _narrowed(part: Floats, corner: Corners, least: float) -> tuple[Floats, Corners]:
    """The part of a map that holds all that reaches a value, and where on the map it begins."""
    hot = part >= least
    rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
    inside = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return inside, corner + np.array([rows[0], columns[0]])


def _corners(sides: list[tuple[slice, ...]]) -> Corners:
    """(b, 4) of boxes as pairs of slices."""
    return np.array([(down.start, across.start, down.stop, across.stop) for down, across in sides], np.float64)


def _areas(boxes: Corners) -> NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
