"""What methods do to arrays beyond the Array API standard. All of it works on any framework's arrays through `ops`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight.foreign import Array, Ops
from gradsight.imaging.resample import interpolation, sample_positions


def weighted_sum(weights: Array, activations: Array, ops: Ops) -> Array:
    """Sum channels by weight: (n, k, c), (n, c, *s) -> (n, k, *s), without an array of (n, k, c, *s)."""
    n, c, *grid = activations.shape
    # A product of matrices: the products of all targets and channels would be as large as the gradients.
    maps = ops.matmul(weights, ops.reshape(activations, (n, c, math.prod(grid))))
    return ops.reshape(maps, (*maps.shape[:2], *grid))


def positive(values: Array, ops: Ops) -> Array:
    """Values below 0 replaced by 0."""
    return ops.clip(values, 0, None)


def ratio(above: Array, below: Array, ops: Ops) -> Array:
    """``above / below``, and 0 where ``below`` is 0."""
    zero = below == 0
    # The inner `where` keeps the division from warning and from giving NaN gradients.
    return ops.where(zero, ops.zeros_like(above), above / ops.where(zero, ops.ones_like(below), below))


def softmax(values: Array, ops: Ops) -> Array:
    """Softmax over the last axis."""
    # Without the shift exp overflows from 89 on.
    shifted = ops.exp(values - ops.max(values, axis=-1, keepdims=True))
    return shifted / ops.sum(shifted, axis=-1, keepdims=True)


def to_unit(values: Array, axes: Sequence[int], ops: Ops) -> Array:
    """Shift and scale to [0, 1] over ``axes``; what is constant becomes 0."""
    low = ops.min(values, axis=tuple(axes), keepdims=True)
    high = ops.max(values, axis=tuple(axes), keepdims=True)
    return ratio(values - low, ops.broadcast_to(high - low, values.shape), ops)


def like(values: NDArray[np.generic] | Sequence[float], array: Array, ops: Ops) -> Array:
    """NumPy values as an array of the framework, with the precision and on the device of ``array``."""
    return ops.asarray(values, dtype=array.dtype, device=array.device)


def resize(values: Array, size: Sequence[int], ops: Ops) -> Array:
    """Resize the last axes as `imaging.resize` does, on any framework: linear, half-pixel centres, clamped edges.

    Args:
        values: (..., *s).
        size: the new lengths of the last ``len(size)`` axes.
        ops: array functions.
    """
    for axis, new in zip(range(-len(size), 0), size, strict=True):
        old = values.shape[axis]
        # No copy where nothing changes.
        if old != new:
            matrix = interpolation(sample_positions(new, 0.0, float(new), old), old)
            values = ops.moveaxis(ops.matmul(ops.moveaxis(values, axis, -1), like(matrix.T, values, ops)), -1, axis)
    return values


def normal(shape: Sequence[int], seed: int, array: Array, ops: Ops) -> Array:
    """Normally distributed numbers, the same on every framework: zero mean, unit deviation."""
    # By NumPy: generators of the frameworks give different numbers for one seed.
    return like(np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32), array, ops)


def rounds(count: int, rows: int, batch_size: int) -> Iterator[range]:
    """Divide ``count`` copies of a batch of ``rows`` into rounds of ``batch_size`` rows at most, one copy at least."""
    step = max(1, batch_size // rows)
    for first in range(0, count, step):
        yield range(first, min(first + step, count))


def by_copy(rows: Array, n: int, ops: Ops) -> Array:
    """Rows (r * n, ...) of a pass that held a batch of n images r times, as (r, n, ...); row j is image j % n."""
    return ops.reshape(rows, (-1, n, *rows.shape[1:]))


def principal(samples: Array, ops: Ops, *, centred: bool = False) -> Array:
    """Project samples on their first principal direction, by the smaller of the two Gram matrices.

    Args:
        samples: (..., p, c): p samples of c features.
        ops: array functions.
        centred: subtract the mean of each feature first.

    Returns:
        (..., p), with the sign of `agreeing`.
    """
    if centred:
        samples = samples - ops.mean(samples, axis=-2, keepdims=True)
    turned = ops.matrix_transpose(samples)
    p, c = samples.shape[-2:]
    # Both Gram matrices have the same eigenvalues; the smaller one costs far less.
    if p <= c:
        projection = first_component(ops.matmul(samples, turned), ops)
    else:
        _, vectors = eigh(ops.matmul(turned, samples), ops)
        projection = ops.matmul(samples, vectors[..., -1:])[..., 0]
    return agreeing(projection, samples, ops)


def eigh(matrices: Array, ops: Ops) -> tuple[Array, Array]:
    """Eigenvalues (..., p), ascending, and eigenvectors (..., p, p) of symmetric matrices (..., p, p).

    NaN of one that holds NaN or infinity, on which frameworks fail for the whole batch.
    """
    finite = ops.all(ops.isfinite(matrices), axis=(-2, -1), keepdims=True)
    values, vectors = ops.linalg.eigh(ops.where(finite, matrices, ops.zeros_like(matrices)))
    nothing = ops.full_like(vectors, math.nan)
    return ops.where(finite[..., 0], values, nothing[..., 0]), ops.where(finite, vectors, nothing)


def first_component(gram: Array, ops: Ops) -> Array:
    """The projections (..., p) of samples on their first principal direction, from their products (..., p, p)."""
    values, vectors = eigh(gram, ops)
    return vectors[..., -1] * ops.sqrt(positive(values[..., -1:], ops))


def agreeing(projection: Array, samples: Array, ops: Ops) -> Array:
    """Give a projection (..., p) of samples (..., p, c), whose sign is arbitrary, the sign of the sum over features."""
    # An eigenvector and its negation are equally right, and libraries differ in which they give.
    together = ops.sum(projection * ops.sum(samples, axis=-1), axis=-1, keepdims=True)
    return ops.where(together < 0, -projection, projection)
