"""LeGrad."""

from __future__ import annotations

from typing import Annotated

from gradsight.arrays import positive
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Ops
from gradsight.registry import ATTENTION, method
from gradsight.rules import Whole


@method(
    "legrad",
    title="LeGrad",
    source="arXiv:2404.03214",
    needs=f"{ATTENTION}, in blocks that all tokens pass",
    cost=lambda _channels, targets, **_: 2 + targets,
)
def legrad(probe: Probe, ops: Ops, *, blocks: Annotated[int, Whole(1)] | None = None) -> Array:
    """Mean over blocks, heads and queries of the positive gradient of each block's own score by its attention.

    A block's score is that of the model where each token of the last block is the mean of this block's tokens; class
    and register tokens count as queries, and as keys have no place in the map.

    Args:
        probe: the pass.
        ops: array functions.
        blocks: only so many, the last ones; all if None.
    """
    attending = probe.attending
    gradients = attending.formation_gradients
    if blocks is not None and blocks > len(gradients):
        raise InvalidArgument(f"`blocks` must be at most the model's {len(gradients)} blocks. {received(blocks)}")
    some = gradients[-(blocks or len(gradients)) :]
    keys = [ops.mean(positive(gradient, ops), axis=(2, 3)) for gradient in some]
    return attending.fold(sum(keys[1:], keys[0]) / len(keys))
