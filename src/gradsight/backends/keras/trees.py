"""Nested dicts, lists and tuples, walked in the order in which their owner put things.

`keras.tree` and JAX sort the keys of a dict; the image among several inputs is the one that the user put first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

import keras

from gradsight.foreign import Array, Outputs


def flat(tree: Outputs) -> list[Array]:
    """Everything in a tree that is no dict, list or tuple, in order."""
    if not _is_branch(tree):
        return [tree]
    return [value for branch in _branches(tree) for value in flat(branch)]


def mapped(function: Callable[[Array], object], tree: Outputs) -> Outputs:
    """The same tree with ``function(value)`` in the place of each value; called in order."""
    if not _is_branch(tree):
        return function(tree)
    return _refilled(tree, [mapped(function, branch) for branch in _branches(tree)])


def filled(tree: Outputs, values: Iterable[object]) -> Outputs:
    """The same tree with other values, in order."""
    left = iter(values)
    return mapped(lambda _: next(left), tree)


class Form:
    """A tree without its tensors: two are equal where trees differ in the values of tensors alone.

    What is no tensor, such as a number or a text among the inputs, is part of it: a pass that is traced keeps it.
    """

    def __init__(self, tree: Outputs) -> None:
        """Keep all but the tensors of a tree."""
        self._tree = mapped(lambda value: _TENSOR if keras.ops.is_tensor(value) else value, tree)
        self._key = _key(self._tree)

    def filled(self, tensors: Iterable[Array]) -> Outputs:
        """The tree, with tensors in their places."""
        left = iter(tensors)
        return mapped(lambda value: next(left) if value is _TENSOR else value, self._tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


_TENSOR = object()


def _is_branch(tree: Outputs) -> bool:
    return isinstance(tree, Mapping | list | tuple)


def _branches(tree: Outputs) -> list[Outputs]:
    return list(tree.values() if isinstance(tree, Mapping) else tree)


def _refilled(tree: Outputs, values: list[Outputs]) -> Outputs:
    """A tree of the same kind, with other branches."""
    if isinstance(tree, Mapping):
        made = tree.copy() if hasattr(tree, "copy") else {}  # an ordered dict stays one
        made.update(zip(tree, values, strict=True))
        return made
    if isinstance(tree, list):
        return values
    return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)


def _key(tree: Outputs) -> Hashable:
    if not _is_branch(tree):
        return (type(tree), tree) if isinstance(tree, Hashable) else id(tree)
    names = tuple(tree) if isinstance(tree, Mapping) else ()
    return (type(tree), names, tuple(_key(branch) for branch in _branches(tree)))
