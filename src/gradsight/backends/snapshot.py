"""What a user's model held when it was copied, and whether it still does."""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias, TypeGuard

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
"""What is the same when it is equal, as tuples of them are; all else is the same when it is the same object."""

_CONTAINERS = (dict, list, set, deque)
Container: TypeAlias = dict[Any, Any] | list[Any] | set[Any] | deque[Any]


class Snapshot:
    """What containers held: a model's attributes, and the dicts, lists and sets in them, however deep.

    Of two arrays that are equal today one may be changed in place tomorrow, so all but plain scalars is told by
    identity. `holds` is asked before every pass, and a large model has thousands of containers, most of them empty:
    what all dicts hold is compared as one list of keys and one of values, in a few calls, all loops of which are
    Python's own. Nothing is made of which its garbage collector would keep account.
    """

    def __init__(self) -> None:
        self._empty: list[Container] = []
        self._live: list[Container] = []
        self._then: list[Container] = []
        # Of dicts, one after the other: their values, and how many there are.
        self._dicts: list[dict[Any, Any]] = []
        self._values: list[object] = []
        self._sizes: list[int] = []
        # Of those that are no object's attributes the keys in their order, which == does not see. Attributes are found
        # by name; of them the last name tells: a new one comes last, and one that goes takes its value with it.
        self._ordered: list[dict[Any, Any]] = []
        self._keys: list[Hashable] = []
        self._spaces: list[dict[Any, Any]] = []
        self._last: list[Hashable] = []
        # Of other containers, and of the same as they were.
        self._others: list[Container] = []
        self._others_then: list[Container] = []
        # Where ``==`` is not identity: of values of dicts where they are in the list, of others the holder and the key.
        self._places: list[int] = []
        self._placed: list[object] = []
        self._holders: list[Container] = []
        self._indices: list[Hashable] = []
        self._held: list[object] = []
        self._known: set[int] = set()

    def add_attributes(self, of: object) -> None:
        """Remember what attributes an object has now."""
        self._add(vars(of), is_space=True)

    def add(self, container: Container) -> None:
        """Remember what a container holds now."""
        self._add(container, is_space=False)

    def _add(self, container: Container, *, is_space: bool) -> None:
        # TensorFlow keeps dicts of a layer in proxies, which dict's own functions do not take.
        if not issubclass(type(container), _CONTAINERS):
            container = container.__wrapped__  # type: ignore[union-attr]
        if id(container) in self._known:
            return
        self._known.add(id(container))
        if not container:
            self._empty.append(container)
            return
        self._live.append(container)
        self._then.append(container.copy())
        first = len(self._values)
        if _is_dict(container):
            self._dicts.append(container)
            if is_space:
                self._spaces.append(container)
                self._last.append(next(reversed(container)))
            else:
                self._ordered.append(container)
                self._keys.extend(container)
            self._values.extend(dict.values(container))
            self._sizes.append(len(container))
        else:
            self._others.append(container)
            self._others_then.append(self._then[-1])
        for i, (key, value) in enumerate(_items(container)):
            self.look_into(value)
            if not isinstance(value, _CONTAINERS) and _compares(value) and not _is_plain(value):
                self._by_identity(container, key, value, first + i)

    def _by_identity(self, container: Container, key: Hashable, value: object, place: int) -> None:
        if _is_dict(container):
            self._places.append(place)
            self._placed.append(value)
        else:
            self._holders.append(container)
            self._indices.append(key)
            self._held.append(value)

    def look_into(self, value: object) -> None:
        """Remember what a value holds, if it is a container or a tuple of some."""
        if isinstance(value, _CONTAINERS):
            self.add(value)
        elif isinstance(value, tuple):
            for item in value:
                self.look_into(item)

    def leave_out(self, ids: Iterable[int]) -> None:
        """Of containers with these ids nothing is remembered."""
        self._known.update(ids)

    def holds(self) -> bool:
        """Whether every container holds what it held."""
        try:
            # First the simplest loop: it brings what the next one needs, most of all of it, into the processor's cache.
            if any(self._empty) or list(map(len, self._dicts)) != self._sizes:
                return False
            values = list(_chained(map(dict.values, self._dicts)))
            return (
                values == self._values
                and list(_chained(self._ordered)) == self._keys
                and list(map(next, map(reversed, self._spaces))) == self._last
                and all(map(operator.is_, map(values.__getitem__, self._places), self._placed))
                and self._others == self._others_then
                and all(map(operator.is_, map(_item, self._holders, self._indices), self._held))
            )
        except Exception:  # an array was replaced: its comparison has no truth value, or warns
            return False

    def restore(self) -> None:
        """Let every container hold what it held; others than those that changed are not written to."""
        for container in self._empty:
            if container:
                container.clear()
        for container, then in zip(self._live, self._then, strict=True):
            if not _is_same(container, then):
                container.clear()
                (container.extend if isinstance(container, list | deque) else container.update)(then)


_chained = itertools.chain.from_iterable
_item: Callable[[Any, Any], object] = operator.getitem


def _is_same(one: Container, two: Container) -> bool:
    """Whether two containers hold the same objects in the same order."""
    parts = [[*x, *x.values()] if isinstance(x, dict) else list(x) for x in (one, two)]
    return len(parts[0]) == len(parts[1]) and all(map(operator.is_, *parts))


def _is_dict(container: Container) -> TypeGuard[dict[Any, Any]]:
    """Whether a container is a dict indeed, and not a proxy of one, as TensorFlow puts in the place of a layer's."""
    return issubclass(type(container), dict)


def _compares(value: object) -> bool:
    """Whether ``==`` of its kind is something else than identity."""
    equals: object = getattr(type(value), "__eq__", None)
    return equals is not object.__eq__


def _is_plain(value: object) -> bool:
    return isinstance(value, _SCALARS) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _items(container: Container) -> Iterable[tuple[Hashable, object]]:
    if _is_dict(container):
        return dict.items(container)  # in the order of `dict.values`, which a dict of another kind may not keep
    if isinstance(container, dict):
        return container.items()
    return enumerate(container) if isinstance(container, list | deque) else ()  # a set has no arrays
