"""FEM."""

from __future__ import annotations

from typing import Annotated

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Number


@method("fem", title="FEM", source="doi:10.1109/IPTA50016.2020.9286629", gradient=False)
def fem(probe: Probe, ops: Ops, *, deviations: Annotated[float, Number(0, 100)] = 2.0) -> Array:
    """Count, weighted by each channel's mean, the channels that stand out at a position; one map for all targets.

    Args:
        probe: the pass.
        ops: array functions.
        deviations: a channel stands out where it is so many standard deviations over its mean.
    """
    activations = probe.activations
    mean = ops.mean(activations, axis=probe.spatial, keepdims=True)
    std = ops.std(activations, axis=probe.spatial, keepdims=True)
    rounding = 1e-5 * ops.abs(mean)  # of a channel that is constant
    out = ops.astype(activations - mean > deviations * std + rounding, activations.dtype)
    # A channel counts by how active it is on the whole, not at the position.
    maps = ops.sum(out * mean, axis=1, keepdims=True)
    return ops.broadcast_to(maps, (*probe.scores.shape, *activations.shape[2:]))
