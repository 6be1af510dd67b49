"""Boxes in which the heat of a snapshot should lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Box, Each
from gradsight.values import LONGEST, items_in

Boxes: TypeAlias = Sequence[Sequence[Sequence[float]]]
"""For each photo its boxes, each (top, left, bottom, right)."""


_BOXES = "Pass [[(top, left, bottom, right)], ...]."


def boxes_in(boxes: Boxes | None) -> tuple[tuple[tuple[float, ...], ...], ...] | None:
    """The boxes of each photo as plain numbers.

    Raises:
        InvalidArgument: they are none.
    """
    if boxes is None:
        return None
    each, photos = Each(Box(), range(LONGEST)), items_in(boxes)
    if photos is None:
        raise InvalidArgument(f"`boxes` must be a list with the boxes of each photo. {received(boxes)} {_BOXES}")
    # A photo may have none.
    return tuple(taken(f"boxes[{i}]", one, each, _BOXES) for i, one in enumerate(photos))


def share_in(heat: NDArray[np.floating], boxes: Sequence[Sequence[float]]) -> float:
    """The share of the heat in boxes, in [0, 1]; 0 where there is no heat.

    >>> share_in(np.array([[3.0, 1.0], [0.0, 0.0]]), [(0, 0, 2, 1)])
    0.75
    """
    inside = np.zeros(heat.shape, bool)
    for box in boxes:
        inside[_pixels(box)] = True
    positive = np.clip(heat, 0, None)
    total = float(positive.sum())
    return float(positive[inside].sum()) / total if total else 0.0


def _pixels(box: Sequence[float]) -> tuple[slice, slice]:
    top, left, bottom, right = (max(0, round(side)) for side in box)
    return slice(top, bottom), slice(left, right)


def check_inside(name: str, boxes: Sequence[Sequence[float]], shape: tuple[int, ...]) -> None:
    """Whether each box holds pixels of a picture.

    Raises:
        InvalidArgument: one holds none.
    """
    for box in boxes:
        rows, columns = _pixels(box)
        # Boxes in shares of the sides, or of a photo of another size: their figure would be 0 for the whole training.
        if rows.start >= min(rows.stop, shape[0]) or columns.start >= min(columns.stop, shape[1]):
            raise InvalidArgument(
                f"`{name}` must have pixels of what is explained, which is {shape[0]} x {shape[1]} (height x width). "
                f"{received(tuple(box))} Boxes are in pixels of the photo; of a batch in those of the input."
            )
