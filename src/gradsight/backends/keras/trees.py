"""Nested dicts, lists and tuples, walked in the order in which their owner put things.

`keras.tree` and JAX sort the keys of a dict; the image among several inputs is the one that the user put first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import keras


def leaves(tree: Any) -> list[Any]:
    """Everything in a tree that is no dict, list or tuple, in order."""
    if not _is_branch(tree):
        return [tree]
    return [leaf for branch in _branches(tree) for leaf in leaves(branch)]


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with ``function(leaf)`` in the place of each leaf; called in order."""
    if not _is_branch(tree):
        return function(tree)
    return _refilled(tree, [mapped(function, branch) for branch in _branches(tree)])


def filled(tree: Any, values: Iterable[Any]) -> Any:
    """The same tree with other leaves, in order."""
    left = iter(values)
    return mapped(lambda _: next(left), tree)


class Form:
    """A tree without its tensors: two are equal where trees differ in the values of tensors alone.

    What is no tensor, such as a number or a text among the inputs, is part of it: a pass that is traced keeps it.
    """

    def __init__(self, tree: Any) -> None:
        """Keep all but the tensors of a tree."""
        self._tree = mapped(lambda leaf: _TENSOR if keras.ops.is_tensor(leaf) else leaf, tree)
        self._key = _key(self._tree)

    def filled(self, tensors: Iterable[Any]) -> Any:
        """The tree, with tensors in their places."""
        left = iter(tensors)
        return mapped(lambda leaf: next(left) if leaf is _TENSOR else leaf, self._tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


_TENSOR = object()


def _is_branch(tree: Any) -> bool:
    return isinstance(tree, Mapping | list | tuple)


def _branches(tree: Any) -> list[Any]:
    return list(tree.values() if isinstance(tree, Mapping) else tree)


def _refilled(tree: Any, values: list[Any]) -> Any:
    """A tree of the same kind, with other branches."""
    if isinstance(tree, Mapping):
        made: Any = tree.copy() if hasattr(tree, "copy") else {}  # an ordered dict stays one
        made.update(zip(tree, values, strict=True))
        return made
    if isinstance(tree, list):
        return values
    return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)


def _key(tree: Any) -> Hashable:
    if not _is_branch(tree):
        return (type(tree), tree) if isinstance(tree, Hashable) else id(tree)
    names = tuple(tree) if isinstance(tree, Mapping) else ()
    return (type(tree), names, tuple(_key(branch) for branch in _branches(tree)))
