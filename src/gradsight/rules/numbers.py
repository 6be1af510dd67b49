"""Rules of numbers, lengths and arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gradsight.errors import GradsightError, InvalidArgument
from gradsight.rules.kinds import Each
from gradsight.values import array_in, number_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NARROWEST = 1e-9
"""The least side of a box, in pixels: a division by it stays finite."""


@dataclass(frozen=True)
class Whole:
    """A whole number of at most 63 bits, from ``least`` to ``most``, both included."""

    least: int | None = None
    most: int | None = None
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        return f"a whole number{_bounds(self.least, self.most)}"

    def read(self, value: object) -> int | None:
        """The number, or None if it breaks the rule."""
        value = number_in(value)
        # In Python a truth value is a whole number too: True would be read as 1.
        if not isinstance(value, Integral) or isinstance(value, bool) or not _within(value, self.least, self.most):
            return None
        return int(value) if abs(int(value)) < 1 << 63 else None


@dataclass(frozen=True)
class Number:
    """A finite number from ``least`` to ``most``, both included; ``above`` is a lower bound that is not included."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        if self.above is None:
            return f"a number{_bounds(self.least, self.most)}"
        return f"a number above {self.above:g}" + ("" if self.most is None else f" and at most {self.most:g}")

    def read(self, value: object) -> float | None:
        """The number, or None if it breaks the rule."""
        value = number_in(value)
        if not isinstance(value, Real) or isinstance(value, bool) or not _within(value, self.least, self.most):
            return None
        # An int stays one, so that messages and names show it as it was written.
        number = value if isinstance(value, int) else float(value)
        if not math.isfinite(number):  # an int of hundreds of digits raises, which is caught
            return None
        return number if self.above is None or number > self.above else None


@dataclass(frozen=True)
class Sides:
    """The lengths of ``axes`` axes, in pixels or positions. One number stands for all of them."""

    axes: int = 2
    names: str = ", (height, width)"
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        if self.axes == 1:
            return "a positive whole number"
        return f"{self.axes} positive whole numbers{self.names if self.axes == 2 else ''}, or one for each of them"

    def read(self, value: object) -> tuple[int, ...] | None:
        """The lengths, or None."""
        # More than any array has along one axis.
        side = Whole(1, 1 << 31)
        one = side.read(value)
        return (one,) * self.axes if one is not None else Each(side, (self.axes,)).read(value)


@dataclass(frozen=True)
class Box:
    """(top, left, bottom, right) with an area."""

    error: ClassVar[type[GradsightError]] = InvalidArgument
    rule: ClassVar[str] = "4 numbers, (top, left, bottom, right), with an area"

    def read(self, value: object) -> tuple[float, ...] | None:
        """The numbers, or None."""
        corners = Each(Number(-1e9, 1e9), (4,)).read(value)
        if corners is None or min(corners[2] - corners[0], corners[3] - corners[1]) < _NARROWEST:
            return None
        return tuple(map(float, corners))


@dataclass(frozen=True)
class Array:
    """An array of real numbers or truth values of any framework, with so many axes, not empty.

    ``kinds`` are letters of NumPy's dtypes, and ``rule`` says what the array is, with its shape.
    """

    axes: tuple[int, ...]
    rule: str
    kinds: str = "biuf"
    error: ClassVar[type[GradsightError]] = InvalidArgument

    def read(self, value: object) -> NDArray[Any] | None:
        """The array as one of NumPy, or None."""
        array = array_in(value)
        fits = array is not None and array.dtype.kind in self.kinds and array.ndim in self.axes and array.size > 0
        return array if fits else None


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:.12g} to {most:.12g}"
    if most is None:
        return "" if least is None else f" of at least {least:.12g}"
    return f" of at most {most:.12g}"


def _within(value: Real, least: float | None, most: float | None) -> bool:
    """Whether a number is finite, also as float, and within its bounds."""
    number = cast(float, value)  # an int too, which is compared as it is: as a float it may be another number
    try:
        finite = math.isfinite(number)
    except OverflowError:
        finite = isinstance(value, Integral)
    return finite and (least is None or number >= least) and (most is None or number <= most)
