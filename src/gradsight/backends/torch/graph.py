"""Reading autograd's graph: what every path passes, and where no derivative gets through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch

from gradsight.backends import dominators as paths

Node: TypeAlias = torch.autograd.graph.Node
"""A node of autograd's graph: what made a tensor that carries a gradient."""


def _before(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]


def topological(start: Node | None) -> list[Node]:
    """The autograd graph from ``start`` backwards, each node after all that lead to it; empty for None.

    As long as the list lives, each node is one object of Python, and can be looked up; PyTorch makes a new one for a
    node that nobody holds.
    """
    return paths.topological(start, _before)


def is_whole(start: Node | None, sources: Iterable[torch.Tensor]) -> bool:
    """Whether a graph from ``start`` backwards reaches all ``sources``, and nothing in it lacks a derivative."""
    if start is None:
        return False
    reached, left, leaves = {start}, [start], set()
    for node in left:
        if node.name().endswith("NotImplemented"):
            return False
        before = node.next_functions
        if not before:
            leaves.add(id(getattr(node, "variable", None)))
        for child, _ in before:
            if child is not None and child not in reached:
                reached.add(child)
                left.append(child)
    return all(id(x) in leaves if x.grad_fn is None else x.grad_fn in reached for x in sources)


def dominators(order: Sequence[Node], source: torch.Tensor) -> set[Node]:
    """The nodes of a graph, as `topological` gives it, that every path from its first back to ``source`` passes."""
    leaf = next((node for node in order if getattr(node, "variable", None) is source), None)
    return paths.dominators(order, _before, leaf)


def differentiable(order: Sequence[Node]) -> set[Node]:
    """The nodes of a graph whose gradient is whole: nothing between them and the score lacks a derivative.

    PyTorch passes over an operator without one, such as the kernels of quantized layers, with no more than a warning:
    the gradient behind it lacks whatever would have come through.
    """
    lost: set[Node] = set()
    for node in order:
        if node in lost or node.name().endswith("NotImplemented"):
            lost.update(_before(node))
    return set(order) - lost
