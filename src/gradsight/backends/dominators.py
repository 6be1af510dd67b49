"""What every path through a graph passes, whatever framework recorded the graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def topological(start: Node | None, before: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """A graph without cycles from ``start`` backwards, each node after all that lead to it; empty for None.

    Args:
        start: a node.
        before: the nodes that a node takes its arguments from.
    """
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [] if start is None else [(start, False)]
    while stack:
        node, left = stack.pop()
        if left:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child in before(node))
    return order[::-1]


def dominators(order: Sequence[Node], before: Callable[[Node], Iterable[Node]], source: Node | None) -> set[Node]:
    """The nodes that every path from the first of ``order``, as `topological` gives it, back to ``source`` passes.

    Immediate dominators of a graph without cycles, in one sweep (Cooper, Harvey and Kennedy, "A simple, fast dominance
    algorithm", 2001, fig. 3). Without a source there are none.
    """
    if not order or source is None:
        return set()
    start = order[0]
    position = {node: i for i, node in enumerate(order)}
    above: dict[Node, Node] = {start: start}
    for node in order:
        for child in before(node):
            # What two paths lead to lies under the last node that both passed: both climb until they meet there.
            a, b = above.get(child, node), node
            while a != b:
                if position[a] > position[b]:
                    a = above[a]
                else:
                    b = above[b]
            above[child] = a
    passed: set[Node] = set()
    node = source if source in position else start
    while node != start:
        node = above[node]
        passed.add(node)
    return passed


def cuts_of(end: Node, source: Node, before: Callable[[Node], Iterable[Node]], marked: Mapping[str, Node]) -> set[str]:
    """The names in ``marked`` whose node every path from ``end`` back to ``source`` passes.

    Args:
        end: the node that is explained.
        source: the node of the input.
        before: the nodes that a node takes its arguments from.
        marked: nodes by name.
    """
    passed = dominators(topological(end, before), before, source)
    return {name for name, node in marked.items() if node in passed}
