"""Stretches of marked pixels in the rows of pictures, and the boxes around those that hang together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Spans:
    """Marked pixels of some pictures, row by row and from left to right, (s,) each.

    Attributes:
        of: which picture.
        row: which row of it.
        begin: the first column.
        end: the column behind the last.
    """

    of: Places
    row: Places
    begin: Places
    end: Places

    def lengths(self, count: int) -> Places:
        """How many pixels are marked in each of ``count`` pictures."""
        found = np.zeros(count, np.intp)
        np.add.at(found, self.of, self.end - self.begin)
        return found


def boxes_of(spans: Spans, places: Places, width: int) -> Places:
    """The boxes around what hangs together with a place, also by a corner.

    Args:
        spans: of m pictures, one or more of each.
        places: (m, 2), a row and a column in each that is marked.
        width: of the pictures.

    Returns:
        (m, 4): top, left, bottom, right, the last two exclusive.

    >>> spans = Spans(*np.array([[0, 0, 0], [0, 1, 1], [2, 1, 6], [4, 2, 8]]))
    >>> boxes_of(spans, np.array([[0, 3]]), 10)
    array([[0, 1, 2, 4]])
    """
    of, row, begin, end = spans.of, spans.row, spans.begin, spans.end
    # One number for each place in all pictures, in their order; a row is left out behind each picture.
    step, rows = width + 1, int(row.max()) + 2
    line = (of * rows + row) * step
    starts, stops = line + begin, line + end
    low = np.searchsorted(stops, starts - step, "left")
    high = np.searchsorted(starts, stops - step, "right")
    number = _areas(low, high)
    own = np.searchsorted(starts, (np.arange(len(places)) * rows + places[:, 0]) * step + places[:, 1], "right") - 1
    kept = np.flatnonzero(number == number[own][of])
    first = np.searchsorted(of[kept], np.arange(len(places)))
    last = np.append(first[1:], len(kept)) - 1
    return np.stack(
        [
            row[kept[first]],
            np.minimum.reduceat(begin[kept], first),
            row[kept[last]] + 1,
            np.maximum.reduceat(end[kept], first),
        ],
        axis=1,
    )


def _areas(low: Places, high: Places) -> Places:
    """A number for each stretch, the same for all that hang together.

    Args:
        low: of each the first of those in the row above that it touches.
        high: the one behind the last of these.
    """
    own = np.arange(len(low))
    number = np.where(high > low, low, own)
    number = _followed(number)
    # Where one touches several they become one, as the legs of an arch that stands on its head do.
    several = np.flatnonzero(high - low > 1)
    if not len(several):
        return number
    counts = high[several] - low[several]
    here = np.repeat(several, counts)
    above = np.repeat(low[several] - np.cumsum(counts) + counts, counts) + np.arange(len(here))
    while True:
        one, other = number[here], number[above]
        least = np.minimum(one, other)
        if np.array_equal(one, other):
            return number
        np.minimum.at(number, one, least)
        np.minimum.at(number, other, least)
        number = _followed(number)


def _followed(number: Places) -> Places:
    """Numbers of others that are numbered themselves, followed to their ends."""
    while True:
        further = number[number]
        if np.array_equal(further, number):
            return number
        number = further
