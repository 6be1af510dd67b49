"""A control: noise."""

from __future__ import annotations

from typing import Any

from gradsight.arrays import normal
from gradsight.contracts import Probe
from gradsight.registry import method


@method("random", title="Random (control)", source="a control", gradient=False)
def random(probe: Probe, ops: Any, *, seed: int = 0) -> Any:
    """Draw every position at random: what a method must beat to have said anything.

    Args:
        probe: the pass.
        ops: array functions.
        seed: of the noise.
    """
    activations = probe.activations
    return normal((*probe.scores.shape, *activations.shape[2:]), seed, activations, ops)
