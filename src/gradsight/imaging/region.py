"""How strong maps are, and where: the scale of their heat, the hottest point and the area around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.imaging.resample import Floats, bands
from gradsight.rules import Array, Number, Sides

Value = TypeVar("Value", bound=np.floating)

_HIGH = 0.99
"""Full heat of a fine map, as a share of its values over 0, counted from the weakest.

By looking at gradients of EfficientNet-Lite0 on photos: divided by their maximum, which one pixel holds, they cannot be
seen at all; at 99.5 % they are faint, at 98 % most of what is seen is full. SmoothGrad's authors cap at 99 % as well
(arXiv:1706.03825). Maps that are smooth (occlusion, FullGrad, fused layers) hardly change by it.
"""

_AMPLIFIED = 20
"""A fine map whose maximum is farther over the rest than this keeps it visible: a spot of less than 1 % of the picture
would else be drawn as hot as the faint floor around it."""

_SPREAD = 1 / 32
"""Of a picture's shorter side: the deviation of the bell that fine maps are averaged with before their peak is looked
for. A bell of signals or volumes holds the same share of their positions.

The peak of a map of pixels is one pixel, often a stray one. On 98 objects of COCO photos the peak lay on the object in
49 % (raw) and 52 % (averaged) with the gradient, 52 % and 55 % with guided backpropagation, 43 % and 49 % with
integrated gradients. The standard error is 5 %; wider bells made no clear difference, and blur more.
"""


def nan_to_zero(maps: NDArray[Value]) -> NDArray[Value]:
    """Maps with 0 where they are NaN or infinite."""
    cleaned: NDArray[Value] = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
    return cleaned


def display_max(
    maps: NDArray[Value], *, signed: NDArray[np.bool_] | bool = False, fine: bool = False
) -> NDArray[Value]:
    """The raw value of each map from which on it is drawn as hot as can be.

    Args:
        maps: (n, k, *s), raw; NaN and infinite values count as 0.
        signed: (n, k), or one for all: values below 0 count by their magnitude; else they do not count.
        fine: maps of single pixels, which are noisy: not their maximum counts, but the value that 99 % of those over 0
            stay below (at least a twentieth of the maximum).

    Returns:
        (n, k); 0 where nothing is over 0.
    """
    flat = nan_to_zero(maps).reshape(*maps.shape[:2], -1)
    # A map that is signed is as strong as its strongest side, so that both sides are drawn by one number.
    flat = np.where(np.broadcast_to(signed, maps.shape[:2])[..., None], np.abs(flat), flat.clip(0, None))
    highest: NDArray[Value] = flat.max(axis=-1, initial=0.0)
    if fine:
        for place in zip(*np.nonzero(highest), strict=True):
            values = flat[place]
            # Of the values over 0 alone: how many others there are says nothing about how strong these are.
            usual = np.quantile(values[values > 0], _HIGH)
            highest[place] = max(usual, highest[place] / _AMPLIFIED)
    return highest


def smoothed(heat: NDArray[Value]) -> NDArray[Value]:
    """A fine map (*s) averaged over neighbours, by which its peak is where the map is dense, not where one dot is.

    Values below 0 take away from those beside them.
    """
    from scipy import ndimage

    # For two axes this is the share of the side; for others the bell holds the same share of all positions.
    spread = _SPREAD ** (2 / heat.ndim) * min(heat.shape)
    averaged: NDArray[Value] = ndimage.gaussian_filter(nan_to_zero(heat), spread)
    return averaged


@dataclass(frozen=True)
class Region:
    """The hottest part of a heatmap, in positions of what it covers: pixels of a picture, samples of a signal.

    Attributes:
        peak: the hottest position, a number for each axis: (row, column) of a picture, (sample,) of a signal, (slice,
            row, column) of a volume; a slice of a video is a frame.
        box: the connected hot area around the peak, for each axis where it begins, then for each where it ends,
            exclusive: (top, left, bottom, right) of a picture, (start, stop) of a signal, (first slice, top, left,
            last slice + 1, bottom, right) of a volume.
        area: share of all positions that is hot, connected to the peak or not, in [0, 1].
    """

    peak: tuple[int, ...]
    box: tuple[int, ...]
    area: float

    def scaled(self, size: Sequence[int], larger: Sequence[int]) -> Region:
        """The same region where it was found in a smaller copy, of ``size``, of what is ``larger``."""
        axes = len(self.peak)
        size, larger = (taken(name, x, Sides(axes)) for name, x in (("size", size), ("larger", larger)))
        times = [new / old for old, new in zip(size, larger, strict=True)]
        if all(factor == 1 for factor in times):
            return self
        # A pixel of the copy stands for several of the photo: its centre is meant, and of a box the outer edges.
        peak = tuple(int((place + 0.5) * factor) for place, factor in zip(self.peak, times, strict=True))
        starts = tuple(math.floor(x * factor) for x, factor in zip(self.box[:axes], times, strict=True))
        stops = zip(self.box[axes:], times, larger, strict=True)
        return Region(peak, (*starts, *(min(math.ceil(x * factor), most) for x, factor, most in stops)), self.area)


_THRESHOLD = Number(above=0, most=1)
_ARRAY = Array((1, 2, 3), "an array of one to three axes, such as (H, W)")


def region(heatmap: Floats, threshold: float = 0.5) -> Region | None:
    """Find the hottest part of a heatmap.

    Args:
        heatmap: (H, W), (T,) or (D, H, W) in [0, 1]; NaN and infinite values count as 0.
        threshold: hot is what reaches this share of the maximum, in (0, 1].

    Returns:
        The region, or None where nothing is over 0.

    Raises:
        InvalidArgument: another number of axes, or a threshold outside (0, 1].
    """
    heat = _cleaned(heatmap)
    hottest = hot(heat, threshold)
    count = int(np.count_nonzero(hottest))
    if not count:
        return None
    return Region(*_around(heat, hottest), count / heat.size)


def areas(heatmap: Floats, threshold: float = 0.5) -> list[Region]:
    """Find all connected hot areas of a heatmap, the largest first, and of equals the hottest.

    Args:
        heatmap: (H, W), (T,) or (D, H, W) in [0, 1]; NaN and infinite values count as 0.
        threshold: hot is what reaches this share of the maximum, in (0, 1].

    Returns:
        A region for each area, with its own peak, and as ``area`` its own share of all positions; empty where nothing
        is over 0.

    Raises:
        InvalidArgument: another number of axes, or a threshold outside (0, 1].
    """
    heat = _cleaned(heatmap)
    labels, sides = _connected(hot(heat, threshold))
    sizes = np.bincount(labels.ravel(), minlength=len(sides) + 1)[1:]
    found: list[tuple[int, float, Region]] = []
    for number, side in enumerate(sides, start=1):
        # The box of one area may hold positions of another one, as of a ring around a spot.
        inside = np.where(labels[side] == number, heat[side], 0)
        peak = tuple(place + axis.start for place, axis in zip(_peak(inside), side, strict=True))
        count = int(sizes[number - 1])
        found.append((count, float(inside.max()), Region(peak, _box(side), count / heat.size)))
    return [region for _, _, region in sorted(found, key=lambda area: area[:2], reverse=True)]


def hot(heat: Floats, threshold: float) -> NDArray[np.bool_]:
    """Where a heatmap reaches a share of its maximum; nowhere if nothing is over 0.

    Raises:
        InvalidArgument: a threshold outside (0, 1].
    """
    threshold = taken("threshold", threshold, _THRESHOLD, "Pass 0.5.")
    highest = heat.max()
    found: NDArray[np.bool_] = heat >= threshold * highest
    # A map of zeros reaches every share of its maximum, which is 0.
    return found if highest > 0 else np.zeros(heat.shape, bool)


def hot_rows(heat: Callable[[slice], Floats], size: tuple[int, int], threshold: float) -> NDArray[np.bool_]:
    """As `hot`, for a heatmap of ``size`` (height, width) that is given as a function from a slice of rows to these.

    All rows are made twice, for the maximum and for the mask, so that no heatmap of the photo's size is ever held.
    """
    highest = max(heat(rows).max() for rows in bands(size))
    made = np.zeros(size, bool)
    for rows in bands(size):
        if highest > 0:
            made[rows] = heat(rows) >= threshold * highest
    return made


def _cleaned(heatmap: Floats) -> Floats:
    heat: Floats = taken("heatmap", heatmap, _ARRAY, "Pick one image and one target.")
    return heat if np.isfinite(heat).all() else nan_to_zero(heat)


def _connected(marked: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[tuple[slice, ...]]]:
    """The number of the area at each position, 0 for none, and the box of each."""
    from scipy import ndimage

    labels, count = _numbered(marked)
    return labels, ndimage.find_objects(labels, count)


def _numbered(marked: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """The number of the area at each position, 0 for none, and how many there are; what touches at a corner is one."""
    from scipy import ndimage

    # With corners: a thin diagonal thing, such as a tail, is one area and not a row of dots.
    labels, count = ndimage.label(marked, structure=np.ones((3,) * marked.ndim))
    return labels, int(count)


def _around(heat: Floats, hottest: NDArray[np.bool_]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The peak of a heatmap, and the box of the hot area around it."""
    # All that is looked for lies in the hot part, which is a small one of most photos.
    outer = _extent(hottest)
    starts = tuple(axis.start for axis in outer)
    peak = _peak(heat[outer])
    labels, count = _numbered(hottest[outer])
    # Areas far from the peak count as hot, but are no part of its box: two cats do not make one wide box.
    side = _extent(labels == labels[peak]) if count > 1 else tuple(slice(0, length) for length in labels.shape)
    box = (slice(a.start + first, a.stop + first) for a, first in zip(side, starts, strict=True))
    return tuple(place + first for place, first in zip(peak, starts, strict=True)), _box(tuple(box))


def _extent(marked: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box around all that is marked."""
    axes = range(marked.ndim)
    lines = (np.flatnonzero(marked.any(axis=tuple(other for other in axes if other != axis))) for axis in axes)
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in lines)


def _box(side: tuple[slice, ...]) -> tuple[int, ...]:
    return (*(axis.start for axis in side), *(axis.stop for axis in side))


def _peak(heat: Floats) -> tuple[int, ...]:
    """The position of the maximum; of several, the one nearest to their mean."""
    # Of a plateau its middle is meant: the first position would be a corner of it, far from what is seen as hot.
    flat = np.flatnonzero(heat == heat.max())
    if len(flat) == 1:
        return tuple(int(place) for place in np.unravel_index(flat[0], heat.shape))
    tied = np.stack(np.unravel_index(flat, heat.shape), axis=1)
    away = np.square(tied - tied.mean(axis=0)).sum(axis=1)
    return tuple(int(place) for place in tied[away.argmin()])
