"""KPCA-CAM."""

from __future__ import annotations

import math
from typing import Annotated

from gradsight.arrays import agreeing, first_component
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Choice, Number


@method("kpcacam", title="KPCA-CAM", source="arXiv:2410.00267", gradient=False)
def kpcacam(
    probe: Probe,
    ops: Ops,
    *,
    kernel: Annotated[str, Choice(("sigmoid", "rbf"), "kernel")] = "sigmoid",
    gamma: Annotated[float, Number(above=0, most=1e6)] | None = None,
) -> Array:
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
    # Centring takes the difference of nearly equal numbers, which float32 has no digits for.
    samples = ops.astype(samples, ops.float64)
    spread = samples - ops.mean(samples, axis=1, keepdims=True)
    # Where all positions are alike, what is left is rounding.
    alike = ops.max(ops.abs(spread), axis=(1, 2)) <= 1e-6 * ops.max(ops.abs(samples), axis=(1, 2))
    samples = ops.where(alike[:, None, None], 0 * spread, spread)
    products = ops.matmul(samples, ops.matrix_transpose(samples))
    gamma = 1 / c if gamma is None else gamma
    # A kernel is near its value at 0 everywhere, and what counts is in the last digits; centring takes that value off
    # anyway, so it is left out from the start.
    if kernel == "sigmoid":
        slope, level = ops.tanh(gamma * products), math.tanh(1)
        gram = slope * (1 - level**2) / (1 + slope * level)  # tanh(x + 1) - tanh(1)
    else:
        squares = ops.sum(samples**2, axis=-1, keepdims=True)
        gram = ops.expm1(-gamma * (squares + ops.matrix_transpose(squares) - 2 * products))
    centred = gram - ops.mean(gram, axis=-1, keepdims=True) - ops.mean(gram, axis=-2, keepdims=True)
    centred = centred + ops.mean(gram, axis=(-2, -1), keepdims=True)
    projection = ops.astype(agreeing(first_component(centred, ops), samples, ops), activations.dtype)
    maps = ops.reshape(projection, (n, 1, *grid))
    return ops.broadcast_to(maps, (*probe.scores.shape, *grid))
