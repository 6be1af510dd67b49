"""Attention rollout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from gradsight.arrays import like
from gradsight.attention import TOKENS, AttentionCall
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Ops
from gradsight.registry import ATTENTION, method
from gradsight.rules import Choice, Number, Whole

FUSIONS = ("mean", "max", "min")


@method(
    "attentionrollout",
    title="Attention rollout",
    source="arXiv:2005.00928",
    needs=ATTENTION,
    cost=lambda _channels, _targets, **_: 2,
)
def attentionrollout(
    probe: Probe,
    ops: Ops,
    *,
    heads: Annotated[str, Choice(FUSIONS, "fusion of heads")] = "mean",
    discard: Annotated[float, Number(0, 0.99)] = 0.0,
    start: Annotated[int, Whole(0)] = 0,
) -> Array:
    """Multiply the attention of all blocks, each mixed evenly with the identity (eq. 1); the same for all classes.

    Where other tokens ask the layer's, as an attention pool or a text does, their attention goes on in the same way.
    The gradient of a score by the last attention tells which tokens are read, and does nothing else.

    Args:
        probe: the pass.
        ops: array functions.
        heads: how the heads of a block become one: ``"mean"``, ``"max"`` or ``"min"``.
        discard: this share of each block's smallest weights is set to zero; those of class and register tokens stay.
        start: the first block that counts, from 0.
    """
    attending = probe.attending
    calls = _from_block(attending.calls, start)
    reached: dict[int, Array] = {}
    for call in calls:
        fused = getattr(ops, heads)(call.weights, axis=1)
        fused = _without_smallest(fused, discard, attending.extra if call.keys == TOKENS else (), ops)
        own = reached.get(call.queries, _start(call, calls[0].weights, ops))
        asked = reached.get(call.keys, own)
        # (A + I) with rows normalised, times what was reached so far.
        total = ops.sum(fused, axis=-1, keepdims=True) + 1
        reached[call.queries] = (ops.matmul(fused, asked) + own) / total
    return attending.fold(ops.matmul(attending.read, reached[calls[-1].queries]))


def _from_block(calls: Sequence[AttentionCall], start: int) -> Sequence[AttentionCall]:
    """The calls without self-attention over the layer's tokens in the first blocks."""
    blocks = [call.number for call in calls if call.is_of_tokens]
    if start >= len(blocks):
        raise InvalidArgument(f"`start` must be less than the model's {len(blocks)} blocks. {received(start)}")
    return [call for call in calls if call.number >= blocks[start]]


def _start(call: AttentionCall, tokens: Array, ops: Ops) -> Array:
    """What a sequence holds of the layer's tokens before any attention: all of itself, or nothing: (n, q, t)."""
    count = tokens.shape[-1]
    if call.queries == TOKENS:
        return ops.broadcast_to(like(np.eye(count), tokens, ops), (len(tokens), count, count))
    return ops.broadcast_to(ops.zeros_like(tokens[:, 0, :1]), (len(tokens), call.weights.shape[-2], count))


def _without_smallest(fused: Array, share: float, kept: Sequence[int], ops: Ops) -> Array:
    """Weights (n, q, k) with the smallest set to zero, this share of each image's; columns ``kept`` stay whole."""
    n, queries, keys = fused.shape
    count = math.floor(share * queries * keys)
    if not count:
        return fused
    flat = ops.reshape(fused, (n, queries * keys))
    # By rank, not by a threshold: of equal weights, as of a block that looks everywhere alike, not all are smallest.
    rank = ops.argsort(ops.argsort(flat, axis=-1), axis=-1)
    small = ops.reshape(rank < count, fused.shape)
    columns = ops.asarray([key in set(kept) for key in range(keys)], device=getattr(fused, "device", None))
    return ops.where(ops.logical_and(small, ops.logical_not(columns)), ops.zeros_like(fused), fused)
