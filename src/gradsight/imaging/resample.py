"""Linear interpolation, one axis after the other, as products with small matrices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Each, Whole

Floats: TypeAlias = NDArray[np.floating]
"""Values of maps, in single or double precision."""

_BAND = 1 << 18
"""Pixels of a large picture that are looked at at once: their floats stay in the processor's cache."""

_CELLS = 64
"""The most cells of an axis that is resized as a product; of more, two neighbours each are quicker than a matrix."""

_ALONE = 1 << 18
"""The most multiplications that OpenBLAS does on the thread that asks for them. Its other threads, once woken, go on
spinning for work, and take the processors away from PyTorch's: a run over photos took twice as long."""

_ROWS = 16
"""Fewer rows than these are multiplied one by one, and slowly."""


def resize(values: Floats, size: Sequence[int]) -> Floats:
    """Resize the last axes by linear interpolation with half-pixel centres and clamped edges.

    The same as ``torch.nn.functional.interpolate(mode="linear" | "bilinear" | "trilinear", align_corners=False)``: no
    antialiasing, meant for making maps larger. A NaN spreads, of maps that are not large along its row and column.

    Args:
        values: (..., *s), real numbers.
        size: the new length of each of the last ``len(size)`` axes; one, two or three positive integers.

    Returns:
        (..., *size), float32, or float64 where ``values`` is.

    Raises:
        InvalidArgument: a length is not positive, or ``values`` has fewer axes than ``size``.
    """
    words = "one, two or three positive whole numbers"
    lengths = taken("size", size, Each(Whole(1, 1 << 31), (1, 2, 3), words), "Pass (height, width).")
    result, first = values, values.ndim - len(lengths)
    for i, (new, old) in enumerate(zip(lengths, trailing(values, len(lengths)), strict=True)):
        result = _resampled(sample_positions(new, 0.0, float(new), old), result, first + i)
    return np.ascontiguousarray(result)


def stretched(values: Floats, size: Sequence[int]) -> Callable[[slice], Floats]:
    """Enlarge a map (h, w) to (H, W) as `resize` does, some rows at a time: a function from a slice to these rows."""
    down, across = (sample_positions(n, 0.0, float(n), old) for n, old in zip(size, trailing(values, 2), strict=True))
    # Across first: the map has few rows then, and all that grows with the photo is made row by row.
    wide = _resampled(across, values, 1)
    return lambda rows: _resampled(down[rows], wide, 0)


def bands(size: Sequence[int]) -> Iterator[slice]:
    """The rows of a picture of ``size`` (height, width), from the top down, a few at a time."""
    height, width = size
    step = max(1, _BAND // width)
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))


def trailing(values: Floats, count: int) -> tuple[int, ...]:
    """Return the lengths of the last ``count`` axes.

    Raises:
        InvalidArgument: there are fewer axes, or one is empty.
    """
    lengths = values.shape[max(values.ndim - count, 0) :]
    if len(lengths) < count or 0 in lengths:
        raise InvalidArgument(f"A map must have {count} axes or more, none of them empty. {received(values)}")
    return lengths


def sample_positions(count: int, start: float, stop: float, cells: int) -> NDArray[np.float64]:
    """Where the centres of ``count`` pixels fall in a grid of ``cells`` that covers [start, stop) of them.

    Returns:
        (count,) positions in units of cells, in which the centre of cell i is i.
    """
    centres = np.arange(count, dtype=np.float64) + 0.5
    return (centres - start) * (cells / (stop - start)) - 0.5


def _neighbours(positions: NDArray[np.float64], cells: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two cells that each position lies between, edges clamped, and the share of the second."""
    # Beyond the middle of the first and last cell there is nothing to interpolate with: their values go on.
    clamped = positions.clip(0, cells - 1)
    lower = np.floor(clamped).astype(np.intp)
    return lower, np.minimum(lower + 1, cells - 1), clamped - lower


def interpolation(positions: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Make the (len(positions), cells) matrix that interpolates a row of cells linearly at positions, edges clamped."""
    lower, upper, share = _neighbours(positions, cells)
    rows = np.arange(len(positions))
    matrix = np.zeros((len(positions), cells))
    # Added, not set, for the upper one: at the edges it is the same cell as the lower one.
    matrix[rows, lower] = 1 - share
    matrix[rows, upper] += share
    return matrix


def apply(matrices: Sequence[NDArray[np.float64]], values: Floats) -> Floats:
    """Multiply the last ``len(matrices)`` axes of ``values``, each by its matrix of shape (new, old)."""
    result = values
    for axis, matrix in enumerate(matrices, start=values.ndim - len(matrices)):
        result = product(matrix, result, axis)
    return np.ascontiguousarray(result)


def _resampled(positions: NDArray[np.float64], values: Floats, axis: int) -> Floats:
    """One axis interpolated at positions, in units of its cells."""
    cells = values.shape[axis]
    if cells <= _CELLS:
        return product(interpolation(positions, cells), values, axis)
    return _gathered(positions, values, axis)


def product(matrix: NDArray[np.float64], values: Floats, axis: int) -> Floats:
    """One axis multiplied by its matrix, on the thread that calls."""
    values = _floating(values)
    # In the precision of the values: a float64 matrix would make a float64 picture of a float32 map.
    weights = matrix.astype(values.dtype)
    if axis % values.ndim == values.ndim - 1:
        return _multiplied(np.atleast_2d(values), weights.T).reshape(*values.shape[:-1], len(weights))
    return np.moveaxis(_multiplied(weights, np.moveaxis(values, axis, -2)), -2, axis)


def _multiplied(left: Floats, right: Floats) -> Floats:
    """(..., m, k) times (..., k, n), by blocks that no other thread is woken for."""
    m, k, n = *left.shape[-2:], right.shape[-1]
    if m * k * n <= _ALONE:
        return np.asarray(np.matmul(left, right))
    columns = max(1, min(n, _ALONE // (k * _ROWS)))
    rows = max(1, _ALONE // (k * columns))
    made = np.empty((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), m, n), left.dtype)
    for i, j in itertools.product(range(0, m, rows), range(0, n, columns)):
        block = ..., slice(i, i + rows), slice(j, j + columns)
        np.matmul(left[..., block[1], :], right[..., block[2]], out=made[block])
    return made


def _gathered(positions: NDArray[np.float64], values: Floats, axis: int) -> Floats:
    """One axis interpolated at positions, without a matrix."""
    values = np.moveaxis(_floating(values), axis, -1)
    lower, upper, share = _neighbours(positions, values.shape[-1])
    share = share.astype(values.dtype)
    return np.moveaxis(values[..., lower] * (1 - share) + values[..., upper] * share, -1, axis)


def _floating(values: Floats) -> Floats:
    return values.astype(np.float64 if values.dtype == np.float64 else np.float32, copy=False)
