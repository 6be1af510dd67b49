"""Rules of words, types and sequences, and what a rule is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from gradsight.errors import GradsightError, InvalidArgument, InvalidType
from gradsight.values import LONGEST, items_in, number_in

Read = TypeVar("Read", covariant=True)
_T = TypeVar("_T")


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
class Choice:
    """One of several words. ``kind`` says what they are, such as ``"kernel"``; ``way_out`` is the end of the error."""

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
    """Several rules, of which the first that takes a value reads it."""

    rules: tuple[Rule[_T], ...]
    error: ClassVar[type[GradsightError]] = InvalidArgument

    @property
    def rule(self) -> str:
        """In words."""
        return " or ".join(rule.rule for rule in self.rules)

    def read(self, value: object) -> _T | None:
        """What that rule reads, or None."""
        return next((read for rule in self.rules if (read := tried(rule, value)) is not None), None)


@dataclass(frozen=True)
class Each(Generic[_T]):
    """A sequence whose items keep a rule each. Its length is one of ``counts``; if these are empty, at least one.

    More than `LONGEST` items are never taken, whatever ``counts`` say: a generator may never end. ``words`` replaces
    the rule in messages.
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
        return f"a sequence of {self._counted}, each {self.of.rule}"

    @property
    def _counted(self) -> str:
        if not isinstance(self.counts, range) or not self.counts:
            return " or ".join(map(str, self.counts)) or "at least one"
        least = min(self.counts[0], self.counts[-1])
        return f"{least} to {self._most}" if least else f"at most {self._most}"

    @property
    def _most(self) -> int:
        # The ends of a range, of which one is the largest: `max` would walk through all of it, and may never arrive.
        ends = (*self.counts[:1], *self.counts[-1:]) if isinstance(self.counts, range) else self.counts
        return min(LONGEST, max(ends, default=LONGEST))

    def read(self, value: object) -> tuple[_T, ...] | None:
        """The items, or None if something breaks the rule."""
        # One more than allowed is enough to see that there are too many.
        items = items_in(value, self._most)
        if items is None or (len(items) not in self.counts if self.counts else not items):
            return None
        read = [self.of.read(item) for item in items]
        return None if any(item is None for item in read) else tuple(item for item in read if item is not None)


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


def tried(rule: Rule[_T], value: object) -> _T | None:
    """What a rule reads; None if it is broken, also if the value's own methods raise an error."""
    try:
        return rule.read(value)
    except Exception:  # whatever the value's own methods raise
        return None
