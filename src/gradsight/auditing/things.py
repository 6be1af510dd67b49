"""Things that look nearly the same, to the pixel, in photos of a class, wherever in the photo they are.

A logo that is never at the same place has no place in the mean of maps. Its pixels give it away: a small window around
the peak of one photo's heat is found again in the other photos of the class, and in no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.places import Box, pixels
from gradsight.auditing.scoring import Pictures

Window = NDArray[np.float32]
"""(c, s, s): a small piece of a picture."""

_SIDE = 1 / 16
"""The side of a window, as a share of the picture's: smaller than most marks, so that all of it is mark."""

_SOURCES, _TURNS = 12, 5
"""Windows are taken from so many photos, and of each at so many rows and columns around its peak."""

_SAME = 0.1
"""A window is found where what is left of it, once the picture there is taken away, has a tenth of its own variance."""

_DETAIL = 0.2
"""A window varies at least so much, as a share of the pictures' variance: an even patch is found everywhere."""

_MOST, _FEWEST = 0.05, 0.35
"""It is found in at least a third of the class's photos, and in at most a twentieth of the others."""

_TELLING = 5
"""Fewer photos do not tell whether a pixel is the same in all."""

_STEADY = 0.35
"""Pixels around a window belong to the thing where they vary, from photo to photo, at most so much of the usual."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing that photos of a class share.

    Attributes:
        window: what is looked for.
        reach: how far the thing goes beyond the window's upper left corner, (top, left, bottom, right) in pixels.
        region: where it was looked for, as shares of the picture.
        own: the share of the class's photos that it was found in.
        others: the share of other photos.
    """

    window: Window
    reach: tuple[int, int, int, int]
    region: Box
    own: float
    others: float

    def boxes(self, pictures: Pictures) -> list[Box | None]:
        """Where it is in each picture, as shares; None where it is not."""
        height, width = pictures.shape[2:]
        found: list[Box | None] = []
        for picture in pictures:
            left_over, (row, column) = _nearest(picture, self.window[None], self.region)
            top, left = max(0, int(row[0]) + self.reach[0]), max(0, int(column[0]) + self.reach[1])
            bottom, right = min(height, int(row[0]) + self.reach[2]), min(width, int(column[0]) + self.reach[3])
            # Twice the residue that it was chosen by: other photos are compressed, and a little different.
            box = (top / height, left / width, bottom / height, right / width)
            found.append(box if left_over[0] <= 2 * _SAME else None)
        return found


def thing_in(own: Pictures, others: Pictures, peaks: NDArray[np.float64], region: Box) -> Thing | None:
    """The thing that most photos of a class share, and few others; None where there is none.

    Args:
        own: photos of the class.
        others: photos of other classes.
        peaks: (n, 2) where each of the class's photos is hottest, (row, column) as shares.
        region: where to look, as shares.
    """
    windows = _windows(own[:_SOURCES], peaks)
    if not len(windows):
        return None
    found = [[_nearest(picture, windows, region) for picture in part] for part in (own, others)]
    left_over = [np.stack([one[0] for one in part]) for part in found]
    ours, theirs = (part <= _SAME for part in left_over)
    # A photo whose own window it is counts as well: one of two dozen.
    shares = ours.mean(axis=0) - theirs.mean(axis=0)
    # Of those found as often the one that fits best: half of a mark and half of what is behind it fits none well.
    best = int(np.lexsort((np.minimum(left_over[0], 1).mean(axis=0), -shares))[0])
    if ours[:, best].mean() < _FEWEST or theirs[:, best].mean() > _MOST:
        return None
    places = [(int(rows[best]), int(columns[best])) for _, (rows, columns) in found[0]]
    held = [i for i in range(len(own)) if ours[i, best]]
    reach = _reach(own[held], [places[i] for i in held], windows.shape[-1])
    return Thing(windows[best], reach, region, float(ours[:, best].mean()), float(theirs[:, best].mean()))


def _windows(pictures: Pictures, peaks: NDArray[np.float64]) -> NDArray[np.float32]:
    """(windows, c, s, s): around the peaks, some beside others, those with detail."""
    height, width = pictures.shape[2:]
    side = max(5, round(_SIDE * min(height, width)))
    usual, made = float(pictures.var()), []
    for picture, (row, column) in zip(pictures, peaks, strict=False):
        for down, across in np.ndindex(_TURNS, _TURNS):
            # Half a window apart, and as far as a cell of a coarse layer reaches.
            top = round(row * height + (down - _TURNS / 2) * side / 2 - side / 4)
            left = round(column * width + (across - _TURNS / 2) * side / 2 - side / 4)
            top, left = min(max(top, 0), height - side), min(max(left, 0), width - side)
            window = picture[:, top : top + side, left : left + side]
            # Sky is found in every photo with a sky.
            if window.var() >= _DETAIL * usual:
                made.append(window)
    return np.stack(made) if made else np.zeros((0, 1, 1, 1), np.float32)


def _nearest(
    picture: NDArray[np.float32], windows: NDArray[np.float32], region: Box
) -> tuple[NDArray[np.float64], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Of each window what is left of it at the place of a picture that is most like it, and that place."""
    side = windows.shape[-1]
    rows, columns = _region(region, (picture.shape[1], picture.shape[2]), side)
    pieces = np.lib.stride_tricks.sliding_window_view(picture[:, rows, columns], (side, side), axis=(1, 2))
    grid = pieces.shape[1:3]
    flat = np.ascontiguousarray(pieces.transpose(1, 2, 0, 3, 4)).reshape(grid[0] * grid[1], -1)
    wanted = windows.reshape(len(windows), -1)
    # |a - b|^2 by one product of matrices: each window at each place, in the time of one convolution.
    away = np.square(flat).sum(axis=1)[:, None] - 2 * flat @ wanted.T + np.square(wanted).sum(axis=1)
    best = away.argmin(axis=0)
    left_over = away[best, np.arange(len(windows))] / wanted.shape[1] / np.maximum(wanted.var(axis=1), 1e-12)
    down, across = np.unravel_index(best, grid)
    return left_over.astype(np.float64), (down + rows.start, across + columns.start)


def _region(region: Box, size: tuple[int, int], side: int) -> tuple[slice, slice]:
    """The rows and columns of a region, wide enough for a window."""
    rows, columns = pixels(region, size)
    return _wide(rows, size[0], side), _wide(columns, size[1], side)


def _wide(axis: slice, length: int, side: int) -> slice:
    start = min(axis.start, length - side)
    return slice(start, max(axis.stop, start + side))


def _reach(pictures: Pictures, places: Sequence[tuple[int, int]], side: int) -> tuple[int, int, int, int]:
    """How far the pixels around the windows are the same, in every photo."""
    around = 2 * side
    steady = np.stack(list(_surroundings(pictures, places, side, around)))
    # Photos whose window lies at the edge have nothing beyond it.
    seen = ~np.isnan(steady)
    counts = np.maximum(seen.sum(axis=0), 1)
    means = np.where(seen, steady, 0).sum(axis=0) / counts
    varies = np.sqrt((np.where(seen, steady - means, 0) ** 2).sum(axis=0) / counts).mean(axis=0)
    varies[counts.min(axis=0) < _TELLING] = np.inf
    same = varies <= _STEADY * float(pictures.std(axis=0).mean())
    rows, columns = _grown_from(same, around, side)
    return rows[0] - around, columns[0] - around, rows[1] - around, columns[1] - around


def _surroundings(
    pictures: Pictures, places: Sequence[tuple[int, int]], side: int, around: int
) -> Iterator[NDArray[np.float32]]:
    for picture, (row, column) in zip(pictures, places, strict=True):
        # NaN beyond the photo, which counts in no mean.
        wide = np.pad(picture, ((0, 0), (around, around), (around, around)), constant_values=np.nan)
        yield wide[:, row : row + side + 2 * around, column : column + side + 2 * around]


def _grown_from(same: NDArray[np.bool_], start: int, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rectangle around the window whose rows and columns are the same for the most part."""
    top, left, bottom, right = start, start, start + side, start + side
    for _ in range(start):
        if top > 0 and same[top - 1, left:right].mean() > 0.5:
            top -= 1
        if left > 0 and same[top:bottom, left - 1].mean() > 0.5:
            left -= 1
        if bottom < len(same) and same[bottom, left:right].mean() > 0.5:
            bottom += 1
        if right < same.shape[1] and same[top:bottom, right].mean() > 0.5:
            right += 1
    return (top, bottom), (left, right)
