"""Eigen-CAM."""

from __future__ import annotations

from gradsight.arrays import principal
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("eigencam", title="Eigen-CAM", source="arXiv:2008.00299", gradient=False)
def eigencam(probe: Probe, ops: Ops) -> Array:
    """Project each position's channels on their first principal direction, not centred; one map for all targets.

    The sign, which a singular value decomposition leaves open, is the one that agrees with the sum over channels.
    """
    activations = probe.activations
    n, c, *grid = activations.shape
    # A position is a sample, its channels are the features.
    samples = ops.matrix_transpose(ops.reshape(activations, (n, c, -1)))
    maps = ops.reshape(principal(samples, ops), (n, 1, *grid))
    return ops.broadcast_to(maps, (n, probe.scores.shape[1], *grid))
