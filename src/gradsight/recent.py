"""A mapping of limited size that keeps what was used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from gradsight.locks import Lock

Key = TypeVar("Key")
Value = TypeVar("Value")

KINDS = 16
"""Something is remembered for so many kinds of input: each photo of a folder may have a size of its own."""

PASSES = 64
"""So many compiled passes are remembered for one kind of input, for other layers and other methods."""


class Recent(Generic[Key, Value]):
    """A mapping that forgets what was not used for the longest time. Threads may share it."""

    def __init__(self, most: int = KINDS) -> None:
        """Keep at most ``most`` values."""
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._most, self._lock = most, Lock()

    def __reduce__(self) -> tuple[type[Recent[Key, Value]], tuple[int]]:
        return Recent, (self._most,)  # a copy remembers nothing

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __setitem__(self, key: Key, value: Value) -> None:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def values(self) -> list[Value]:
        """All that is remembered, what was used last at the end."""
        with self._lock:
            return list(self._kept.values())

    def get(self, key: Key) -> Value | None:
        """The value of a key; None if it is not remembered."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def of(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not remembered. Two threads may make one each; the last is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        # Outside of the lock: making a value may take seconds, and may need another value of the same kind.
        value = make()
        self[key] = value
        return value
