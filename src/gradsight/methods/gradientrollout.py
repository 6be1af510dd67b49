"""Gradient attention rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from gradsight.arrays import like, positive, ratio
from gradsight.attention import TOKENS, AttentionCall
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import ATTENTION, method

Relevance = dict[tuple[int, int], Array]
"""By sequence and other sequence, how much each token of the first holds of each of the second: (n, k, q, t)."""


@method(
    "gradientrollout",
    title="Gradient attention rollout",
    source="arXiv:2103.15679",
    needs=ATTENTION,
    cost=lambda _channels, targets: 2 + targets,
)
def gradientrollout(probe: Probe, ops: Ops) -> Array:
    """Add up what attention carries, each weight times its gradient where that is positive (eqs. 5 to 11).

    Of self-attention alone it is R <- R + A R, as transformer attribution (arXiv:2012.09838) has it too, which takes
    a relevance propagated layer by layer in the place of the weight. Cross attention, as from the words of a text to
    the image, goes by the rules for two modalities; what the keys hold of a third sequence, of which the paper has no
    rule, is carried as by eq. 11.

    Args:
        probe: the pass.
        ops: array functions.
    """
    attending = probe.attending
    gradients, calls = attending.gradients, attending.calls  # in this order: the first pass gives the second too
    relevance = _identities(calls, gradients, ops)
    for call, gradient in zip(calls, gradients, strict=True):
        carried = ops.mean(positive(gradient * call.weights[:, None], ops), axis=2)
        relevance |= _after(relevance, call, carried, ops)
    sequence = calls[-1].queries
    rows = relevance[sequence, TOKENS]
    if sequence == TOKENS:
        # What a token holds of itself from the start is no attention; of a class token it is not drawn anyway.
        rows = rows - _identity(rows, ops)
    return attending.fold(ops.matmul(attending.read[:, :, None], rows)[:, :, 0])


def _identities(calls: Sequence[AttentionCall], gradients: Sequence[Array], ops: Ops) -> Relevance:
    """The start (section 3.1): each token holds itself, and nothing of other sequences."""
    lengths: dict[int, Array] = {}
    for call, gradient in zip(calls, gradients, strict=True):
        lengths.setdefault(call.queries, gradient[:, :, 0, :, :1])  # (n, k, q, 1), of which the size alone is used
    found: Relevance = {}
    for one, other in product(lengths, lengths):
        rows, columns = lengths[one], lengths[other].shape[-2]
        blank = ops.broadcast_to(ops.zeros_like(rows), (*rows.shape[:-1], columns))
        found[one, other] = blank + like(np.eye(columns), rows, ops) if one == other else blank
    return found


def _after(relevance: Mapping[tuple[int, int], Array], call: AttentionCall, carried: Array, ops: Ops) -> Relevance:
    """What the queries hold after a call, which carries (n, k, q, keys)."""
    asks, asked = call.queries, call.keys
    others = {other for _, other in relevance}
    if asks == asked:  # eqs. 6 and 7
        return {(asks, i): relevance[asks, i] + ops.matmul(carried, relevance[asks, i]) for i in others}
    found = {(asks, i): relevance[asks, i] + ops.matmul(carried, relevance[asked, i]) for i in others - {asked}}  # 11
    among, within = (_normalised(relevance[x, x], ops) for x in (asks, asked))
    through = ops.matmul(ops.matmul(ops.matrix_transpose(among), carried), within)
    return {**found, (asks, asked): relevance[asks, asked] + through}  # eq. 10


def _normalised(own: Array, ops: Ops) -> Array:
    """What the tokens of a sequence hold of each other, rows of sum 1, plus the identity (eqs. 8 and 9)."""
    itself = _identity(own, ops)
    beyond = own - itself
    total = ops.sum(beyond, axis=-1, keepdims=True)
    return ratio(beyond, total, ops) + itself


def _identity(square: Array, ops: Ops) -> Array:
    return like(np.eye(square.shape[-1]), square, ops)
