"""What comes one after the other, and holds threads or files until it is closed."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Closing(Generic[Item]):
    """What a generator gives. `close`, or the end of a ``with``, ends the generator, and whatever it holds.

    Args:
        made: the generator: nothing of it runs before the first item is asked for.
    """

    def __init__(self, made: Generator[Item, None, None]) -> None:
        self._made = made

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._made)

    def close(self) -> None:
        """End the threads and let go of the files; what they have read is forgotten, what was written is kept."""
        self._made.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
