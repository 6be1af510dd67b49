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
    """``above / below`` for finite values, and 0 where ``below`` is 0."""
    # By infinity, which gives 0 without a warning, and in one division of what is there: ``below`` may be smaller.
    return above / ops.where(below == 0, ops.full_like(below, math.inf), below)


def softmax(values: Array, ops: Ops) -> Array:
    """Softmax over the last axis."""
    # Without the shift exp overflows from 89 on.
    shifted = ops.exp(values - ops.max(values, axis=-1, keepdims=True))
    return shifted / ops.sum(shifted, axis=-1, keepdims=True)


def to_unit(values: Array, axes: Sequence[int], ops: Ops) -> Array:
    """Shift and scale to [0, 1] over ``axes``; what is constant becomes 0."""
    low = ops.min(values, axis=tuple(axes), keepdims=True)
    high = ops.max(values, axis=tuple(axes), keepdims=True)
    return ratio(values - low, high - low, ops)


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
        _, vector = leading(ops.matmul(turned, samples), ops)
        projection = ops.matmul(samples, vector[..., None])[..., 0]
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
    value, vector = leading(gram, ops)
    return vector * ops.sqrt(positive(value[..., None], ops))


_MANY = 256
"""From so many rows on a few directions cost less than all of them."""

_TRIES = (16, 24, 32, 48)
"""After so many steps the leading direction of a layer's activations is looked for; mostly the first finds it."""

_DIRECT = 32
"""From so many steps on a factorization may be the proof: it costs a tenth of all directions, and many steps."""


def leading(matrices: Array, ops: Ops) -> tuple[Array, Array]:
    """The largest eigenvalue (...,) of symmetric matrices (..., p, p), and its eigenvector (..., p) of either sign.

    Of large matrices it comes from a small Krylov space, at the price of so many products with a vector, and is
    proven: see `_krylov`. Where the proof fails, as where two eigenvalues are nearly equal, and of small matrices, it
    is `eigh` that gives it. NaN of a matrix that holds NaN or infinity.
    """
    *batch, p, _ = matrices.shape
    if p < _MANY:
        return _last(*eigh(matrices, ops))
    # In the widest precision: the matrix is read a few times, and the proof asks for digits. One by one: what a matrix
    # gets must not depend on those beside it.
    each = ops.astype(ops.reshape(matrices, (-1, p, p)), ops.float64)
    found = [_krylov(each[i], ops) or _last(*eigh(each[i], ops)) for i in range(each.shape[0])]
    values, vectors = (ops.astype(ops.stack(parts, axis=0), matrices.dtype) for parts in zip(*found, strict=True))
    return ops.reshape(values, tuple(batch)), ops.reshape(vectors, (*batch, p))


def _last(values: Array, vectors: Array) -> tuple[Array, Array]:
    return values[..., -1], vectors[..., -1]


def _krylov(matrix: Array, ops: Ops) -> tuple[Array, Array] | None:
    """The largest eigenvalue () of a matrix (p, p), and its vector (p,); None where that is not proven.

    By Lanczos' method with every new vector made orthogonal to all others twice (Golub and Van Loan, Matrix
    Computations, section 10.3).
    """
    new = normal((matrix.shape[0], 1), 0, matrix, ops)
    basis = images = new[:, :0]
    for step in range(_TRIES[-1]):
        for _ in range(2):  # once leaves what rounding makes of it
            new = new - ops.matmul(basis, ops.matmul(ops.matrix_transpose(basis), new))
        length = ops.sqrt(ops.sum(new * new, axis=0, keepdims=True))
        new = ratio(new, length, ops)
        basis = ops.concat([basis, new], axis=1)
        new = ops.matmul(matrix, new)
        images = ops.concat([images, new], axis=1)
        if step + 1 in _TRIES:
            ritz, turns = eigh(ops.matmul(ops.matrix_transpose(basis), images), ops)
            vectors = ops.matmul(basis, turns)
            errors = ops.sqrt(ops.sum((ops.matmul(images, turns) - vectors * ritz) ** 2, axis=0))
            second = _by_squares(matrix, ritz, errors, ops)
            if _is_proven(matrix, ritz, errors, second, ops):
                return _last(ritz, vectors)
            if step + 1 >= _DIRECT and _is_proven(matrix, ritz, errors, middle := (ritz[-1] + ritz[-2]) / 2, ops):
                return _last(ritz, vectors) if _is_below(matrix, ritz[-1], vectors[:, -1], middle, ops) else None
    return None


def _is_proven(matrix: Array, ritz: Array, errors: Array, second: Array, ops: Ops) -> bool:
    """Whether the last Ritz vector is the leading direction up to rounding, if no other eigenvalue is over ``second``.

    A vector with a residual of norm r is then off by an angle of at most r / (t - second) (Davis and Kahan, 1970).

    Args:
        matrix: (p, p).
        ritz: the Ritz values, ascending, (m,).
        errors: the norms of their residuals, (m,).
        second: a bound of the second eigenvalue, ().
        ops: array functions.
    """
    unit = _unit(matrix)
    # Maps are float32 in the end: of a wider matrix's error nothing is to be seen there.
    limit = 64 * unit if unit > 1e-8 else 2.0**-27
    gap = ritz[-1] - second
    return bool(ops.all(ops.stack([errors[-1] <= limit * gap, gap > matrix.shape[0] * unit * ritz[-1]])))


def _by_squares(matrix: Array, ritz: Array, errors: Array, ops: Ops) -> Array:
    """A bound of the second eigenvalue that costs next to nothing, and is good where few eigenvalues are large.

    A small residual alone shows that there is such an eigenvalue, not that there is no larger one. But the squares of
    all eigenvalues add up to the squares of all entries: what the Ritz values t that have converged leave of that sum
    bounds all others by sqrt(|A|^2 - sum t^2), up to the norm of all their residuals (Weyl).
    """
    converged = errors <= 1e-3 * ritz[-1]
    left = (1 + 64 * _unit(matrix)) * ops.sum(matrix * matrix) - ops.sum(ops.where(converged, ritz**2, 0 * ritz))
    norm = ops.sqrt(ops.sum(ops.where(converged, errors**2, 0 * errors)))
    return ops.maximum(ritz[-2], ops.sqrt(positive(left, ops))) + norm


def _is_below(matrix: Array, value: Array, vector: Array, bound: Array, ops: Ops) -> bool:
    """Whether a matrix without the part ``value * vector * vector'`` has no eigenvalue over a bound.

    Then the matrix has at most one, since a part of rank one shifts eigenvalues by one place at most. It is so where
    bound * I - A + value * vector * vector' has a Cholesky factor.
    """
    shifted = (
        bound * ops.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
        - matrix
        + value * vector[:, None] * vector
    )
    try:
        return bool(ops.all(ops.isfinite(ops.linalg.cholesky(shifted))))
    except Exception:  # frameworks say in errors of their own that there is none, or give NaN
        return False


def _unit(array: Array) -> float:
    """The unit of rounding of float64 or float32."""
    return 2.0**-52 if "float64" in str(array.dtype) else 2.0**-23


def agreeing(projection: Array, samples: Array, ops: Ops) -> Array:
    """Give a projection (..., p) of samples (..., p, c), whose sign is arbitrary, the sign of the sum over features."""
    # An eigenvector and its negation are equally right, and libraries differ in which they give.
    together = ops.sum(projection * ops.sum(samples, axis=-1), axis=-1, keepdims=True)
    return ops.where(together < 0, -projection, projection)
