"""Whether gradients are taken in parts: found out once for each graph, on the gradient of one score."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge

from gradsight.backends.rounding import is_close
from gradsight.backends.torch.graph import Node, topological
from gradsight.backends.torch.ops import numpy_of
from gradsight.backends.torch.part_walk import Walk, narrowings
from gradsight.recent import PASSES, Recent

Grads: TypeAlias = Sequence[torch.Tensor | None]
"""By leaf, (k, *leaf); None where scores do not depend on it."""

ByColumn: TypeAlias = Callable[[torch.Tensor, Sequence[torch.Tensor] | Sequence[GradientEdge]], Grads]
"""``(scores (n, k), leaves) -> gradients``, by autograd alone."""


_MANY = 1 << 25
"""Numbers of gradients at the leaves from which on a walk of some milliseconds spares a GPU more time than it takes:
of ViT-B/16 two hundred maps at once."""


class InParts:
    """Takes gradients in parts where that spares most of the products and was seen to give what autograd gives.

    What is remembered is of a graph's operations and of nothing in them: in each pass the graph of that pass is walked.
    All passes take the same way, the first too.
    """

    def __init__(self) -> None:
        """Know of no graph."""
        self._known: Recent[Hashable, bool] = Recent(PASSES)

    def gradients(self, scores: torch.Tensor, leaves: Sequence[torch.Tensor], by_column: ByColumn) -> Grads | None:
        """The gradients of scores (n, k), if they are taken in parts; else None.

        Args:
            scores: with their graph.
            leaves: what they are differentiated by.
            by_column: what autograd gives; it runs once to compare.
        """
        root = scores.grad_fn
        if root is None or not _is_worth_it(scores.shape[1], leaves):
            return None
        starts: list[GradientEdge] = []
        with contextlib.suppress(Exception):  # autograd's own way is there whatever happens in ours
            starts = narrowings(root, [get_gradient_edge(leaf) for leaf in leaves])
        if not starts:
            return None
        order = topological(root)
        key = tuple(node.name() for node in order), tuple((x.dtype, x.device.type, x.ndim) for x in leaves)
        taking = _Taking(order, starts, leaves, by_column)
        if self._known.of(key, lambda: taking.is_right(scores[:, :1])):
            return taking.gradients(scores)
        return None


class _Taking:
    """One graph, to be differentiated in parts."""

    def __init__(
        self,
        order: Sequence[Node],
        starts: Sequence[GradientEdge],
        leaves: Sequence[torch.Tensor],
        by_column: ByColumn,
    ) -> None:
        self._order, self._starts, self._leaves, self._by_column = order, starts, leaves, by_column

    def gradients(self, scores: torch.Tensor) -> Grads | None:
        """Those of scores (n, k); None if it fails."""
        with contextlib.suppress(Exception):
            return self._walked(scores)[1]
        return None

    def is_right(self, scores: torch.Tensor) -> bool:
        """Whether it spares products, and gives what autograd gives of scores (n, 1)."""
        with contextlib.suppress(Exception):
            walk, grads = self._walked(scores)
            # A model may have put a hook on a tensor that changes its gradient, which a walk knows nothing of.
            return walk.gains and all(map(_agree, grads, self._by_column(scores, self._leaves)))
        return False

    def _walked(self, scores: torch.Tensor) -> tuple[Walk, Grads]:
        values = self._by_column(scores, self._starts)
        walk = Walk(self._order, self._leaves)
        # The precision of each product was chosen in the forward pass, and is that of what was kept.
        with torch.no_grad(), torch.autocast(scores.device.type, enabled=False):
            return walk, walk.gradients(self._starts, values)


def _is_worth_it(columns: int, leaves: Sequence[torch.Tensor]) -> bool:
    """Whether what may be spared is more than the walk takes: on a GPU, few products are sooner made than spared."""
    device, numbers = leaves[0].device.type, columns * sum(leaf.numel() for leaf in leaves)
    return device == "cpu" or numbers >= _MANY


def _agree(ours: torch.Tensor | None, theirs: torch.Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return is_close(numpy_of(ours), numpy_of(theirs), torch.finfo(theirs.dtype).eps)
