"""Gradients that are zero in most rows: the part that is not is carried back by itself.

Of a transformer's last block a classifier reads the row of the class token. Autograd knows nothing of it: where the
row is selected, the gradient of all other rows is filled with zeros, and they are multiplied through the block. Here
the graph that autograd recorded is walked by hand, with gradients that are boxes in tensors of zeros (`parts.Part`), by
the same formulas on the same kept tensors. Only keys and values have gradients in every row. Whatever has no rule here
goes on as a whole, through autograd itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge

from gradsight.backends.torch.graph import Node
from gradsight.backends.torch.part_attention import ATTENTION
from gradsight.backends.torch.part_layout import LAYOUT, NARROWING, Passed, Rule, argument_shape, output_shape, saved
from gradsight.backends.torch.part_rules import ARITHMETIC, PRODUCTS, has_gradient
from gradsight.backends.torch.parts import Part, Refused, united, whole

RULES: Mapping[str, Rule] = {**LAYOUT, **ARITHMETIC, **ATTENTION}

_MOST = 0.5
"""A walk is of use where no more than this of what enters products is not zero."""


def kind(node: Node) -> str:
    """The operation of a node, without the number of its overload."""
    return node.name().rstrip("0123456789")


def narrowings(root: Node, leaves: Sequence[GradientEdge]) -> list[GradientEdge]:
    """The outputs of operations that leave most of a tensor out.

    None where something leads to the leaves that passes none of them.
    """
    ends = {(edge.node, edge.output_nr) for edge in leaves}
    found: dict[tuple[Node, int], GradientEdge] = {}
    seen, waiting = {root}, [root]
    while waiting:
        # The last first: where nothing is selected, as in most networks, a leaf is met by the shortest way.
        for node, output in waiting.pop().next_functions:
            if node is None:
                continue
            if (node, output) in ends:
                return []
            if kind(node) in NARROWING and _is_narrow(node):
                found[node, output] = GradientEdge(node, output)
            elif node not in seen:
                seen.add(node)
                waiting.append(node)
    return list(found.values())


def _is_narrow(node: Node) -> bool:
    return bool(2 * math.prod(output_shape(node, 0)) <= math.prod(saved(node, "self_sym_sizes")))


class Walk:
    """One way back through a recorded graph, in parts.

    Attributes:
        gains: most of what would have entered products was zero.
    """

    def __init__(self, order: Sequence[Node], leaves: Sequence[torch.Tensor]) -> None:
        """Of the graph behind ``order[0]``, to leaves."""
        self._order, self._leaves = order, leaves
        self._ends = {(edge.node, edge.output_nr): i for i, edge in enumerate(map(get_gradient_edge, leaves))}
        self._parts: dict[Node, dict[int, list[Part]]] = {}
        self._arrived: list[list[Part]] = [[] for _ in leaves]
        self._left: list[tuple[GradientEdge, torch.Tensor]] = []
        self._entered = self._possible = 0

    @property
    def gains(self) -> bool:
        """Whether most of what would have entered products was zero."""
        return self._entered <= _MOST * self._possible and self._possible > 0

    def gradients(
        self, starts: Sequence[GradientEdge], values: Sequence[torch.Tensor | None]
    ) -> list[torch.Tensor | None]:
        """By leaf, (k, *leaf), of the gradients (k, *output) at outputs in the graph."""
        for edge, value in zip(starts, values, strict=True):
            if value is not None:
                self._add(edge.node, edge.output_nr, whole(value))
        for node in self._order:
            for output, parts in self._parts.pop(node, {}).items():
                self._pass(node, output, united(parts))
        rest = self._through_autograd()
        return [_total(united(parts), more) for parts, more in zip(self._arrived, rest, strict=True)]

    def _add(self, node: Node, output: int, part: Part) -> None:
        self._parts.setdefault(node, {}).setdefault(output, []).append(part)

    def _pass(self, node: Node, output: int, parts: Sequence[Part]) -> None:
        end = self._ends.get((node, output))
        if end is not None and not node.next_functions:
            self._arrived[end] += parts
            return
        self._count(node, parts)
        for part in parts:
            try:
                passed = _passed(node, part, output)
            except Refused:  # by autograd, which gives a leaf there its gradient too
                self._left.append((GradientEdge(node, output), part.dense()))
                continue
            if end is not None:
                self._arrived[end].append(part)
            for number, before in passed:
                self._add(*node.next_functions[number], before)  # type: ignore[arg-type]

    def _count(self, node: Node, parts: Sequence[Part]) -> None:
        if kind(node) in PRODUCTS or kind(node) in ATTENTION:
            self._possible += math.prod(parts[0].shape)
            self._entered += sum(part.numbers.shape[1:].numel() for part in parts)

    def _through_autograd(self) -> Sequence[torch.Tensor | None]:
        """By leaf, the gradients of what was left to it."""
        if not self._left:
            return [None] * len(self._leaves)
        edges, values = zip(*self._left, strict=True)
        if len(values[0]) == 1:
            single = [value[0] for value in values]
            grads = torch.autograd.grad(edges, self._leaves, single, retain_graph=True, allow_unused=True)
            return [None if grad is None else grad[None] for grad in grads]
        return torch.autograd.grad(
            edges, self._leaves, values, is_grads_batched=True, retain_graph=True, allow_unused=True
        )


def _passed(node: Node, part: Part, output: int) -> Passed:
    """The parts of the gradients of a node's arguments that have one.

    Raises:
        Refused: there is no rule for it.
    """
    rule = RULES.get(kind(node))
    if rule is None:
        raise Refused
    passed = [(number, part) for number, part in rule(node, part, output) if has_gradient(node, number)]
    if any(part.shape != argument_shape(node, number) for number, part in passed):  # spread over the other argument
        raise Refused
    return passed


def _total(parts: Sequence[Part], more: torch.Tensor | None) -> torch.Tensor | None:
    whole = [part.dense() for part in parts] + ([] if more is None else [more])
    return None if not whole else sum(whole[1:], whole[0])
