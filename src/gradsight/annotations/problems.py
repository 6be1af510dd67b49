"""What is wrong in files of annotations, collected in words while the rest is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gradsight.errors import GradsightError, one_line, printable

_TOLD = 20
"""Of one file so many problems are told one by one, and the others are counted: a broken one has millions."""


class Problems:
    """Sentences, a few for each file."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._count: Counter[str] = Counter()

    def add(self, file: str, text: str) -> None:
        """Tell one thing that is wrong in a file."""
        self._count[file] += 1
        if self._count[file] <= _TOLD:
            self._told.append(printable(f"{file}: {text}"))

    @contextmanager
    def caught(self, file: str, where: str = "") -> Iterator[None]:
        """Tell what fails in the block, instead of raising it."""
        try:
            yield
        # What is read from a file has any type: whatever a wrong one leads to is that file's problem.
        except (GradsightError, ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            text = str(error) if isinstance(error, GradsightError) else f"{type(error).__name__}: {one_line(error)}"
            self.add(file, f"{where}{': ' * bool(where)}{text}")

    def all(self) -> tuple[str, ...]:
        """The sentences."""
        more = [(file, count - _TOLD) for file, count in self._count.items() if count > _TOLD]
        return (*self._told, *(printable(f"{file}: and {count:,} more of such.") for file, count in more))
