"""A control: noise."""

from __future__ import annotations

from typing import Annotated

from gradsight.arrays import normal
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import control
from gradsight.rules import Whole


@control("random", title="Random (control)", source="a control")
def random(probe: Probe, ops: Ops, *, seed: Annotated[int, Whole(0)] = 0) -> Array:
    """Draw every position at random, the same for every image: what a method must beat to have said anything.

    Args:
        probe: the pass.
        ops: array functions.
        seed: of the noise.
    """
    activations, (n, k) = probe.activations, probe.scores.shape
    drawn = normal((1, k, *activations.shape[2:]), seed, activations, ops)
    return ops.broadcast_to(drawn, (n, *drawn.shape[1:]))
