"""A control: the weights of one attention."""

from __future__ import annotations

from typing import Annotated

from gradsight.attention import TOKENS, AttentionCall
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Ops
from gradsight.registry import ATTENTION, control
from gradsight.rules import Whole


@control(
    "attention",
    title="Raw attention (control)",
    source="arXiv:2010.11929",
    needs=ATTENTION,
    cost=lambda _channels, _targets, **_: 2,
)
def attention(probe: Probe, ops: Ops, *, head: Annotated[int, Whole(0)] | None = None) -> Array:
    """Take the weights that what is read gives to the tokens in the last attention; the same for all classes.

    It says where one block looks, and not for which class, nor what is done with it.

    Args:
        probe: the pass.
        ops: array functions.
        head: which head, from 0; the mean of all if None.
    """
    attending = probe.attending
    call = next(call for call in reversed(attending.calls) if call.keys == TOKENS)
    heads = call.weights.shape[1]
    if head is not None and head >= heads:
        raise InvalidArgument(f"`head` must be less than the {heads} heads of the last attention. {received(head)}")
    weights = ops.mean(call.weights, axis=1) if head is None else call.weights[:, head]
    return attending.fold(ops.matmul(_asking(call, attending.calls[-1], attending.read, ops), weights))


def _asking(call: AttentionCall, last: AttentionCall, read: Array, ops: Ops) -> Array:
    """The shares of a call's queries, (n, k, q): of tokens that are read; even where the last call asks others."""
    if call.queries == last.queries:
        return read
    n, k = read.shape[:2]
    queries = call.weights.shape[-2]
    # By a weight: the framework, precision and device of the others.
    even = ops.ones_like(call.weights[:, 0, :, 0]) / queries
    return ops.broadcast_to(even[:, None], (n, k, queries))
