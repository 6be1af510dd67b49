"""Boxes as shares of a photo, (top, left, bottom, right), and the smaller ones that may be tried in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box: TypeAlias = tuple[float, float, float, float]
"""(top, left, bottom, right), each in [0, 1]."""

_HOT = 0.5
"""What reaches this share of a map's maximum is hot, as everywhere."""

_LEAST_HEAT = 0.1
"""A hot area with less of the heat is no place of its own."""

_WIDE = 0.75
"""A box that is so high and so wide is a ring, or the whole photo: its edges are looked at one by one."""

_DEEP = 0.25
"""How deep such edges are, before they are narrowed."""


_THIN = 1 / 8
"""How deep the edges of a photo are that are tried as a whole."""


def area(box: Box) -> float:
    """The share of the photo.

    >>> area((0.0, 0.5, 0.5, 1.0))
    0.25
    """
    top, left, bottom, right = box
    return (bottom - top) * (right - left)


def pixels(box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture that a box covers, one of each at least."""
    top, left, bottom, right = box
    (rows, columns) = (_side(top, bottom, size[0]), _side(left, right, size[1]))
    return rows, columns


def _side(start: float, stop: float, length: int) -> slice:
    first = min(max(round(start * length), 0), length - 1)
    return slice(first, min(max(round(stop * length), first + 1), length))


def hot_boxes(heat: NDArray[np.floating]) -> list[Box]:
    """The boxes around the hot areas of a map (rows, columns), those with most heat first.

    A ring, such as a frame's, has its four edges as boxes.
    """
    return [box for whole in hot_areas(heat) for box in _edges(whole)]


def hot_areas(heat: NDArray[np.floating]) -> list[Box]:
    """The same, with one box around a ring too."""
    highest = heat.max(initial=0)
    if highest <= 0:
        return []
    labels, _ = ndimage.label(heat >= _HOT * highest, structure=np.ones((3, 3)))
    total, found = heat.clip(0, None).sum(), []
    # What touches at a corner is one area, as in `imaging.areas`.
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        held = float(heat[labels == number].sum() / total)
        box = (
            rows.start / heat.shape[0],
            columns.start / heat.shape[1],
            rows.stop / heat.shape[0],
            columns.stop / heat.shape[1],
        )
        if held >= _LEAST_HEAT:
            found.append((held, box))
    return [box for _, box in sorted(found, reverse=True)]


def _edges(box: Box) -> list[Box]:
    top, left, bottom, right = box
    # A box around a frame is the whole photo, which does whatever the photo does.
    if bottom - top < _WIDE or right - left < _WIDE:
        return [box]
    return [
        (top, left, top + _DEEP, right),
        (top, right - _DEEP, bottom, right),
        (bottom - _DEEP, left, bottom, right),
        (top, left, bottom, left + _DEEP),
    ]


def strips(boxes: Sequence[Box]) -> list[Box]:
    """The whole edges of the photo that boxes touch: a frame is hot at its corners, which are no place of their own.

    >>> strips([(0.0, 0.2, 0.3, 0.4)])
    [(0.0, 0.0, 0.125, 1.0)]
    """
    ends = ((0.0, 0.0, _THIN, 1.0), (0.0, 0.0, 1.0, _THIN), (1 - _THIN, 0.0, 1.0, 1.0), (0.0, 1 - _THIN, 1.0, 1.0))
    return [edge for i, edge in enumerate(ends) if edge not in boxes and any(box[i] == i // 2 for box in boxes)]


def halves(box: Box) -> Iterator[Box]:
    """The halves of a box at its four sides, and the two in the middle."""
    top, left, bottom, right = box
    high, wide = bottom - top, right - left
    for start in (0.0, 0.25, 0.5):
        yield top + start * high, left, top + (start + 0.5) * high, right
        yield top, left + start * wide, bottom, left + (start + 0.5) * wide


def trims(box: Box) -> Iterator[Box]:
    """A box with a quarter cut off at each of its sides in turn."""
    top, left, bottom, right = box
    high, wide = (bottom - top) / 4, (right - left) / 4
    yield top + high, left, bottom, right
    yield top, left + wide, bottom, right
    yield top, left, bottom - high, right
    yield top, left, bottom, right - wide


def elsewhere(box: Box, count: int, rng: np.random.Generator) -> list[Box]:
    """Boxes of the same size at other places, which overlap the box as little as can be."""
    top, left, bottom, right = box
    high, wide = bottom - top, right - left
    # Many are drawn: beside a box that fills half of the photo few have a place of their own.
    drawn = rng.random((40 * count, 2)) * (1 - high, 1 - wide)
    made = [(float(y), float(x), float(y + high), float(x + wide)) for y, x in drawn]
    # A stable sort: of those that do not overlap, the first drawn.
    return sorted(made, key=lambda other: shared(box, other))[:count]


def around(boxes: Sequence[Box]) -> Box:
    """The box around several.

    >>> around([(0.0, 0.1, 0.2, 0.3), (0.1, 0.0, 0.3, 0.2)])
    (0.0, 0.0, 0.3, 0.3)
    """
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


def shared(one: Box, other: Box) -> float:
    """The area that two boxes share, as a share of the photo."""
    high = min(one[2], other[2]) - max(one[0], other[0])
    wide = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, high) * max(0.0, wide)


def overlap(one: Box, other: Box) -> float:
    """The share of the smaller of two boxes that lies in the other."""
    # Of the smaller box: a mark within a band along the edge is the same thing.
    return shared(one, other) / min(area(one), area(other))


def wider(box: Box, margin: float) -> Box:
    """A box with a margin at each side, within the photo.

    >>> wider((0.0, 0.5, 0.25, 0.75), 0.25)
    (0.0, 0.25, 0.5, 1.0)
    """
    top, left, bottom, right = box
    return max(0.0, top - margin), max(0.0, left - margin), min(1.0, bottom + margin), min(1.0, right + margin)


def at_border(box: Box) -> bool:
    """Whether all of a box lies in the outer quarter at one side, where things that photos are of seldom are."""
    top, left, bottom, right = box
    return bottom <= _DEEP or right <= _DEEP or top >= 1 - _DEEP or left >= 1 - _DEEP


def named(box: Box) -> str:
    """Where a box lies, in words.

    >>> named((0.85, 0.85, 1.0, 1.0)), named((0.0, 0.0, 0.1, 1.0)), named((0.4, 0.4, 0.6, 0.6))
    ('the lower right corner', 'the upper edge', 'the middle')
    """
    # By the middle of the box; one that is long along a side has no word for that side.
    top, left, bottom, right = box
    row, column = (top + bottom) / 2, (left + right) / 2
    down = _third(row, bottom - top, ("upper", "lower"))
    across = _third(column, right - left, ("left", "right"))
    if down and across:
        corner = (row < 0.25 or row > 0.75) and (column < 0.25 or column > 0.75)
        return f"the {down} {across} {'corner' if corner else 'part'}"
    one = down or across
    if not one:
        return "the middle" if area(box) < 0.5 else "most of the photo"
    # Half of the photo is no edge of it, though it begins there: an edge is no deeper than `at_border` has it.
    at_edge = _touches(top, bottom) if down else _touches(left, right)
    return f"the {one} {'edge' if at_edge else 'part'}"


def _touches(start: float, stop: float) -> bool:
    return (start < 0.02 or stop > 0.98) and stop - start <= _DEEP + 1e-9


def _third(centre: float, length: float, words: tuple[str, str]) -> str:
    if length > 0.6:
        return ""
    if 1 / 3 <= centre <= 2 / 3:
        return ""
    return words[int(centre > 0.5)]
