"""Where the model's input lies on the original picture, and how a map gets back there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.imaging.resample import Floats, apply, interpolation, product, sample_positions, trailing
from gradsight.limits import PIXELS
from gradsight.rules import Array, Box, Number, Sides, Whole

_MAP = Array(tuple(range(2, 9)), "maps of numbers, (..., h, w), not empty")

_ONE = Array((2,), "one map of numbers, (h, w), not empty")


@dataclass(frozen=True)
class Placement:
    """The region of a picture that a model's input covers.

    Attributes:
        image_size: (height, width) of the original picture in pixels.
        input_size: (height, width) of the model's input in pixels.
        box: (top, left, bottom, right) of the region in pixels of the original, measured from its upper left corner (so
            that pixel 0 spans 0 to 1); floats. It reaches beyond the picture where the input was padded.

    Raises:
        InvalidArgument: a size is not positive or the box is empty.
    """

    image_size: tuple[int, int]
    input_size: tuple[int, int]
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        for name in ("image_size", "input_size"):
            size = taken(name, getattr(self, name), Sides())
            PIXELS.check(size[0] * size[1], f"`{name}` is too large: {size[0]} x {size[1]} pixels")
            object.__setattr__(self, name, size)
        object.__setattr__(self, "box", taken("box", self.box, Box()))

    @classmethod
    def whole(cls, image_size: tuple[int, int], input_size: tuple[int, int]) -> Placement:
        """Make the placement of an input that covers the whole picture, stretched if need be."""
        height, width = taken("image_size", image_size, Sides())
        return cls((height, width), input_size, (0.0, 0.0, float(height), float(width)))

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of what the model saw of the picture, in whole pixels; bottom, right exclusive."""
        (height, width), (top, left, bottom, right) = self.image_size, self.box
        rows, columns = _whole(top, bottom, height), _whole(left, right, width)
        return rows[0], columns[0], rows[1], columns[1]

    def to_image(self, heat: Floats) -> Floats:
        """Lay maps that cover the model's input back onto the original picture.

        Each original pixel is interpolated linearly between the centres of the map's cells. Pixels that the model did
        not see are 0, and so are values that are not finite (one would spread along its whole row and column).

        Args:
            heat: (..., h', w'), a map of any resolution that covers the input exactly, edge to edge.

        Returns:
            (..., H, W) of ``image_size``; float32, or float64 where ``heat`` is.

        Raises:
            InvalidArgument: ``heat`` has fewer than two axes, or is empty.
        """
        # A matrix multiplies NaN by 0 too, and gives NaN: one bad position would spread along its row and column.
        heat = taken("heat", heat, _MAP)
        return apply(self._matrices(heat), np.nan_to_num(heat, nan=0.0, posinf=0.0, neginf=0.0))

    def stretched(self, heat: Floats) -> Callable[[slice], Floats]:
        """As `to_image` for one map (h', w'), some rows at a time: a function from a slice to these rows."""
        heat = taken("heat", heat, _ONE)
        down, across = self._matrices(heat)
        wide = product(across, np.nan_to_num(heat, nan=0.0, posinf=0.0, neginf=0.0), 1)
        return lambda rows: product(down[rows], wide, 0)

    def within(self, pixels: int) -> Placement:
        """The same placement on a picture made smaller, of about so many pixels; itself where it has no more."""
        height, width = self.image_size
        times = math.sqrt(taken("pixels", pixels, Whole(1)) / (height * width))
        if times >= 1:
            return self
        return self.resized((max(1, round(height * times)), max(1, round(width * times))))

    def resized(self, image_size: tuple[int, int]) -> Placement:
        """The same placement on the picture resized to (height, width)."""
        # The box moves with the picture; the model's input stays what it was.
        (height, width), small = self.image_size, taken("image_size", image_size, Sides())
        if small == (height, width):
            return self
        down, across = small[0] / height, small[1] / width
        top, left, bottom, right = self.box
        return replace(
            self, image_size=(small[0], small[1]), box=(top * down, left * across, bottom * down, right * across)
        )

    def _matrices(self, heat: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        cells = trailing(heat, 2)
        down, across = (axis_matrix(self.image_size[i], self.box[i], self.box[i + 2], cells[i]) for i in range(2))
        return down, across

    def to_pixel(self, row: float, column: float) -> tuple[float, float]:
        """Turn a position on the model's input into one on the original; whole numbers are centres of pixels."""
        (row, column), (down, across), (top, left, _, _) = _position(row, column), self._scale, self.box
        return top + (row + 0.5) * down - 0.5, left + (column + 0.5) * across - 0.5

    def to_input(self, row: float, column: float) -> tuple[float, float]:
        """Turn a position on the original into one on the model's input; whole numbers are centres of pixels."""
        (row, column), (down, across), (top, left, _, _) = _position(row, column), self._scale, self.box
        return (row + 0.5 - top) / down - 0.5, (column + 0.5 - left) / across - 0.5

    @property
    def _scale(self) -> tuple[float, float]:
        """Original pixels per input pixel, down and across."""
        top, left, bottom, right = self.box
        return (bottom - top) / self.input_size[0], (right - left) / self.input_size[1]


def _position(row: float, column: float) -> tuple[float, float]:
    return taken("row", row, Number()), taken("column", column, Number())


def _whole(start: float, stop: float, length: int) -> tuple[int, int]:
    """Round to whole pixels within the picture, and keep one at least."""
    # A crop may begin beside the picture where it was padded; a rectangle of no pixel could not be drawn.
    first = min(max(round(start), 0), length - 1)
    return first, max(min(round(stop), length), first + 1)


def axis_matrix(length: int, start: float, stop: float, cells: int) -> NDArray[np.float64]:
    """The (length, cells) weights of a map's cells along an axis of a picture; 0 for pixels that are not seen."""
    # All maps of a photo lie on it alike, and often those of the next photo too.
    # Large ones, of fine maps, are not kept.
    make = _kept if length * cells <= _MOST_KEPT else _axis
    return make(length, start, stop, cells)


def _axis(length: int, start: float, stop: float, cells: int) -> NDArray[np.float64]:
    """Make the (length, cells) matrix of one axis, with no weight for pixels whose centre lies outside the box."""
    matrix = interpolation(sample_positions(length, start, stop, cells), cells)
    centres = np.arange(length) + 0.5
    # What is not seen has no evidence: without this the edge of the map would be drawn on to the end of the photo.
    matrix[(centres < start) | (centres >= stop)] = 0
    return matrix


_MOST_KEPT = 1 << 15
"""Weights of an axis: 256 KiB."""

# Nobody writes into them.
_kept = lru_cache(maxsize=32)(_axis)
