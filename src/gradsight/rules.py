"""What arguments take, as data: a few small rules, each with its words and its way to read a value.

What a value does when it is looked at (its length, its items, its comparison fails) is no error of ours: such a value
breaks every rule, see `tried`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from gradsight.errors import GradsightError, InvalidArgument, InvalidType
from gradsight.values import LONGEST, array_in, items_in, number_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

Read = TypeVar("Read", covariant=True)
_T = TypeVar("_T")

_NARROWEST = 1e-9
"""Side of a box, in pixels: what is divided by it stays a number."""


class Rule(Protocol[Read]):
    """What an argument takes."""

    @property
    def rule(self) -> str:
        """In words, after "must be"."""

    @property
    def error(self) -> type[GradsightError]:
        """What is raised where a value breaks it."""

    def read(self, value: object) -> Read | None:
        """The value in its plain form; None if it breaks the rule."""


@dataclass(frozen=True)
class Whole:
    """A whole number, within bounds that belong to it; in any case one that machines count with."""

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
    """A finite number, within bounds that belong to it; ``above`` is a lower bound that does not."""

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
        number = value if isinstance(value, int) else float(value)
        if not math.isfinite(number):  # an int of hundreds of digits raises, which is caught
            return None
        return number if self.above is None or number > self.above else None


@dataclass(frozen=True)
class Choice:
    """One of several words; ``kind`` is what they are, such as ``"kernel"``, and ``way_out`` what else is taken."""

    words: tuple[str, ...]
    kind: str
    way_out: str = ""
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        return f"{'one of ' if len(self.words) > 1 else ''}{', '.join(map(repr, self.words))}"

    def read(self, value: object) -> str | None:
        """The word, or None if it breaks the rule."""
        return str(value) if isinstance(value, str) and value in self.words else None


@dataclass(frozen=True)
class Either(Generic[_T]):
    """What the first of several rules takes that takes it at all."""

    rules: tuple[Rule[_T], ...]
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        return " or ".join(rule.rule for rule in self.rules)

    def read(self, value: object) -> _T | None:
        """What that rule reads, or None."""
        return next((found for rule in self.rules if (found := tried(rule, value)) is not None), None)


@dataclass(frozen=True)
class Each(Generic[_T]):
    """Items in order that keep a rule each, as many as ``counts`` holds; where it is empty, any number but none.

    ``words`` says what they are in place of the rule of each.
    """

    of: Rule[_T]
    counts: Sequence[int] = ()
    words: str = ""

    @property
    def error(self) -> type[GradsightError]:
        """That of one item."""
        return self.of.error

    @property
    def rule(self) -> str:
        """In words."""
        if self.words:
            return self.words
        counts = "" if isinstance(self.counts, range) else " or ".join(map(str, self.counts)) or "at least one"
        return f"a sequence{f' of {counts}' if counts else ''}, each {self.of.rule}"

    def read(self, value: object) -> tuple[_T, ...] | None:
        """The items, or None if something breaks the rule."""
        items = items_in(value, max(self.counts, default=LONGEST))
        if items is None or (len(items) not in self.counts if self.counts else not items):
            return None
        found = [self.of.read(item) for item in items]
        return None if any(item is None for item in found) else tuple(item for item in found if item is not None)


@dataclass(frozen=True)
class Sides:
    """Lengths of so many axes, as numbers of pixels or positions; one number is the length of each of them."""

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
        found = Each(Number(-1e9, 1e9), (4,)).read(value)
        if found is None or min(found[2] - found[0], found[3] - found[1]) < _NARROWEST:
            return None
        return tuple(map(float, found))


@dataclass(frozen=True)
class Text:
    """A text."""

    rule: str = "a text"
    error: ClassVar[type[GradsightError]] = InvalidType

    def read(self, value: object) -> str | None:
        """The text, or None."""
        return str(value) if isinstance(value, str) else None


@dataclass(frozen=True)
class Flag:
    """True or false, of Python or NumPy."""

    error: ClassVar[type[GradsightError]] = InvalidType
    rule: ClassVar[str] = "True or False"

    def read(self, value: object) -> bool | None:
        """The truth value, or None."""
        value = number_in(value)
        return value if isinstance(value, bool) else None


@dataclass(frozen=True)
class Name:
    """A path: a text or a `pathlib.Path`."""

    rule: str = "a path, as a text or a pathlib.Path"
    error: ClassVar[type[GradsightError]] = InvalidType

    def read(self, value: object) -> str | None:
        """The path as a text, or None."""
        return os.fsdecode(value) if isinstance(value, str | os.PathLike) else None


@dataclass(frozen=True)
class Function:
    """Something that can be called; ``rule`` says from what to what."""

    rule: str = "a function"
    error: ClassVar[type[GradsightError]] = InvalidType

    def read(self, value: object) -> Callable[..., Any] | None:
        """The function, or None."""
        return value if callable(value) else None


@dataclass(frozen=True)
class Instance(Generic[_T]):
    """A value of one of some types; ``rule`` says what it is to users."""

    types: type[_T] | tuple[type[_T], ...]
    rule: str
    error: ClassVar[type[GradsightError]] = InvalidType

    def read(self, value: object) -> _T | None:
        """The value, or None."""
        return value if isinstance(value, self.types) else None


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
        found = array_in(value)
        fits = found is not None and found.dtype.kind in self.kinds and found.ndim in self.axes and found.size > 0
        return found if fits else None


def tried(rule: Rule[_T], value: object) -> _T | None:
    """What a rule reads; None where it is broken, also by what the value's own methods raise."""
    try:
        return rule.read(value)
    except Exception:  # whatever the value's own methods raise
        return None


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
