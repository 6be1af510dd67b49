"""Cuts of a graph of operations, whatever engine recorded it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any


def cuts_of(
    end: Hashable, source: Hashable, before: Callable[[Any], Iterable[Hashable]], marked: Mapping[str, Hashable]
) -> set[str]:
    """The names in ``marked`` whose node every path from ``end`` back to ``source`` passes.

    Args:
        end: the node that is explained.
        source: the node of the input.
        before: the nodes that a node takes its arguments from.
        marked: nodes by name.
    """
    kept: dict[Any, list[Hashable]] = {}

    def arguments(node: Any) -> list[Hashable]:
        if node not in kept:
            kept[node] = list(before(node))
        return kept[node]

    path = _path(end, source, arguments, None)
    on_path = set(path)
    return {
        name
        for name, node in marked.items()
        if node in on_path and node is not source and not _path(end, source, arguments, node)
    }


def _path(end: Hashable, source: Hashable, before: Callable[[Any], Iterable[Hashable]], without: Any) -> list[Any]:
    """One path from ``end`` back to ``source`` that does not pass ``without``; empty where there is none."""
    came_from: dict[Any, Any] = {end: None}
    stack = [] if end == without else [end]
    while stack:
        node = stack.pop()
        if node == source:
            path = []
            while node is not None:
                path.append(node)
                node = came_from[node]
            return path
        for other in before(node):
            if other not in came_from and other != without:
                came_from[other] = node
                stack.append(other)
    return []
