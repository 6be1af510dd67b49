"""How the gradient of some rows passes fused attention."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from gradsight.backends.torch.graph import Node
from gradsight.backends.torch.ops import full_precision
from gradsight.backends.torch.outer import outer
from gradsight.backends.torch.part_layout import Passed, Rule, saved
from gradsight.backends.torch.part_rules import has_gradient, through_softmax
from gradsight.backends.torch.parts import Part, Refused, taken


class _Attended(NamedTuple):
    """What fused attention was given, for the rows of the queries in a part: (n, heads, tokens, channels) each.

    Attributes:
        weights: (n, heads, rows, tokens) how much each of these rows takes of each token.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float
    weights: torch.Tensor


def _attention(mask: str) -> Rule:
    """The rule of an operation that keeps its mask under this name; none if it is empty."""

    def rule(node: Node, part: Part, _output: int) -> Passed:
        if not _is_plain(node, part):
            raise Refused
        images, heads, rows, _ = part.at
        seen = _attended(node, part, mask)
        gradient = full_precision(part.value)
        by_weights = torch.einsum("knhtc,nhsc->knhts", gradient, seen.value)
        by_scores = through_softmax(by_weights, seen.weights, -1) * seen.scale
        by_query = torch.einsum("knhts,nhsc->knhtc", by_scores, seen.key)
        # By tokens (k, n, heads, tokens, 1, rows), by channels (k, n, heads, 1, channels, rows).
        by_key = outer(by_scores.mT[..., None, :], seen.query.mT[None, ..., None, :, :])
        by_value = outer(seen.weights.mT[None, ..., None, :], gradient.mT[..., None, :, :])
        return [
            (number, Part(x.to(part.numbers.dtype), tuple(saved(node, name).shape), (images, heads, at, None)))
            for number, name, x, at in (
                (0, "query", by_query, rows),
                (1, "key", by_key, None),
                (2, "value", by_value, None),
            )
        ]

    return rule


def _is_plain(node: Node, part: Part) -> bool:
    """Whether the formula holds, and is of use: attention to everything PyTorch does as well."""
    shared = saved(node, "query").shape[:2] != saved(node, "key").shape[:2]  # heads that share their keys
    learned = len(node.next_functions) > 3 and has_gradient(node, 3)  # a mask with a gradient
    dropped = saved(node, "dropout_p") != 0
    return part.at[2] is not None and part.at[3] is None and not (shared or learned or dropped)


def _attended(node: Node, part: Part, mask: str) -> _Attended:
    images, heads, rows, _ = part.at
    query = full_precision(part.held(saved(node, "query")))
    key, value = (full_precision(taken(taken(saved(node, name), 0, images), 1, heads)) for name in ("key", "value"))
    scale = saved(node, "scale")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (scale * query) @ key.mT
    added = saved(node, mask) if mask else None
    if added is not None:
        if not added.is_floating_point():
            raise Refused
        whole = (*part.shape[:3], key.shape[2])
        scores = scores + Part(scores, whole, (images, heads, rows, None)).held(added)
    if saved(node, "is_causal"):
        order = torch.arange(part.shape[2], device=scores.device)
        later = order[: key.shape[2]] > taken(order, 0, rows)[:, None]
        scores = scores.masked_fill(later, -math.inf)
    return _Attended(query, key, value, scale, scores.softmax(-1))


ATTENTION: dict[str, Rule] = {
    "ScaledDotProductFlashAttentionForCpuBackward": _attention("attn_mask"),
    "ScaledDotProductEfficientAttentionBackward": _attention("attn_bias"),
    "ScaledDotProductCudnnAttentionBackward": _attention("attn_bias"),
    "ScaledDotProductFlashAttentionBackward": _attention(""),
}
"""By the kind of an operation, as autograd names it."""
