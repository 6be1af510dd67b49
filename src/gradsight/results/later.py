"""Fields of a frozen value that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar, cast

Value = TypeVar("Value")

Makers: TypeAlias = dict[str, Callable[[], object]]
"""By field, what computes it, of values that nobody changes."""

MAKERS = "_makers"
"""The attribute that keeps those which have not been asked yet."""


class Later(Generic[Value]):
    """A field of a frozen dataclass: given when the value is made, or computed when it is first asked for.

    It has no ``__set__``, so that what stands in the object itself, as after ``__init__``, is found without it.
    """

    def __init__(self, default: Value) -> None:
        self._default, self._name = default, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Value:
        if instance is None:
            return self._default
        held = vars(instance)
        makers = held.get(MAKERS, {})
        make = makers.get(self._name)
        # Of two threads that ask at once, the first to end says what both get; then what it was made of is let go.
        if make is not None:
            held.setdefault(self._name, make())
            makers.pop(self._name, None)
        return cast(Value, held.get(self._name, self._default))


def later(default: Value) -> Value:
    """The default of a field that may be computed later."""
    field: Any = Later(default)
    return cast(Value, field)
