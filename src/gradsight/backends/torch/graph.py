"""Reading autograd's graph: what every path passes, and where no derivative gets through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def topological(start: Any) -> list[Any]:
    """The autograd graph from ``start`` backwards, each node after all that lead to it; empty for None."""
    order: list[Any] = []
    done: set[Any] = set()
    stack: list[tuple[Any, bool]] = [] if start is None else [(start, False)]
    while stack:
        node, left = stack.pop()
        if left:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None)
    return order[::-1]


def dominators(order: Sequence[Any], source: torch.Tensor) -> set[Any]:
    """The nodes of a graph, as `topological` gives it, that every path from its first back to ``source`` passes.

    Immediate dominators of a graph without cycles, in one sweep (Cooper, Harvey and Kennedy, "A simple, fast dominance
    algorithm", 2001, fig. 3).
    """
    if not order:
        return set()
    start = order[0]
    position = {node: i for i, node in enumerate(order)}
    above: dict[Any, Any] = {start: start}
    for node in order:
        for child, _ in node.next_functions:
            if child is None:
                continue
            if child not in above:
                above[child] = node
                continue
            a, b = above[child], node
            while a is not b:
                if position[a] > position[b]:
                    a = above[a]
                else:
                    b = above[b]
            above[child] = a
    leaf = next((node for node in order if getattr(node, "variable", None) is source), None)
    found: set[Any] = set()
    while leaf is not None and leaf is not start:
        leaf = above[leaf]
        found.add(leaf)
    return found


def differentiable(order: Sequence[Any]) -> set[Any]:
    """The nodes of a graph whose gradient is whole: nothing between them and the score lacks a derivative.

    PyTorch passes over an operator without one, such as the kernels of quantized layers, with no more than a warning:
    the gradient behind it lacks whatever would have come through.
    """
    lost: set[Any] = set()
    for node in order:
        if node in lost or node.name().endswith("NotImplemented"):
            lost.update(child for child, _ in node.next_functions if child is not None)
    return set(order) - lost
