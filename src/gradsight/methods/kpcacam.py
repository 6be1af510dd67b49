"""KPCA-CAM."""

from __future__ import annotations

from typing import Any

from gradsight.arrays import agreeing, first_component
from gradsight.contracts import Probe
from gradsight.errors import unknown
from gradsight.registry import method


@method("kpcacam", title="KPCA-CAM", source="arXiv:2410.00267", gradient=False)
def kpcacam(probe: Probe, ops: Any, *, kernel: str = "sigmoid", gamma: float | None = None) -> Any:
    """Project each position's channels on their first principal direction in a kernel's space; one map for all targets.

    Args:
        probe: the pass.
        ops: array functions.
        kernel: ``"sigmoid"``: tanh(gamma x.y + 1), or ``"rbf"``: exp(-gamma |x - y|^2).
        gamma: 1 / channels if not given.
    """
    activations = probe.activations
    n, c, *grid = activations.shape
    samples = ops.matrix_transpose(ops.reshape(activations, (n, c, -1)))
    samples = ops.astype(samples, ops.float64)  # a kernel is near 1 everywhere, and what counts is in the last digits
    samples = samples - ops.mean(samples, axis=1, keepdims=True)
    products = ops.matmul(samples, ops.matrix_transpose(samples))
    gamma = 1 / c if gamma is None else gamma
    if kernel == "sigmoid":
        gram = ops.tanh(gamma * products + 1)
    elif kernel == "rbf":
        squares = ops.sum(samples**2, axis=-1, keepdims=True)
        gram = ops.exp(-gamma * (squares + ops.matrix_transpose(squares) - 2 * products))
    else:
        raise unknown("kernel", kernel, ("sigmoid", "rbf"))
    centred = gram - ops.mean(gram, axis=-1, keepdims=True) - ops.mean(gram, axis=-2, keepdims=True)
    centred = centred + ops.mean(gram, axis=(-2, -1), keepdims=True)
    # Where all positions are alike, what is left is rounding.
    noise = 1e-14 * gram.shape[-1] * ops.max(ops.abs(gram), axis=(-2, -1), keepdims=True)
    centred = ops.where(ops.max(ops.abs(centred), axis=(-2, -1), keepdims=True) > noise, centred, 0 * centred)
    projection = ops.astype(agreeing(first_component(centred, ops), samples, ops), activations.dtype)
    maps = ops.reshape(projection, (n, 1, *grid))
    return ops.broadcast_to(maps, (*probe.scores.shape, *grid))
