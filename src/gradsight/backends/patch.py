"""Names of other libraries' modules that stand for something of ours for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TypeAlias

from gradsight.locks import Lock

Replacement: TypeAlias = tuple[ModuleType, str, object]
"""A module, a name in it, and what that is to stand for."""


class Patch:
    """Replaces names as long as some thread is within it. What stands in their place must know which threads are."""

    def __init__(self, replacements: Callable[[], Iterable[Replacement]]) -> None:
        """Replace nothing yet.

        Args:
            replacements: gives modules, names in them, and what these are to stand for; asked when the first thread
                comes in.
        """
        self._replacements = replacements
        self._lock, self._within = Lock(), 0
        self._before: list[Replacement] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it the names are replaced; for all threads, of which each tells for itself whether it is."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """A thread comes in; it has to `leave`."""
        with self._lock:
            if not self._within:
                # The first thread in replaces and the last one out puts back: threads within do not see each other.
                for module, name, value in self._replacements():
                    self._before.append((module, name, getattr(module, name)))
                    setattr(module, name, value)
            self._within += 1

    def leave(self) -> None:
        """A thread goes out."""
        with self._lock:
            self._within -= 1
            if not self._within:
                while self._before:
                    setattr(*self._before.pop())
