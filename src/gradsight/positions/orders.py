"""Layouts that no shape suggests: other orders of axes, and of tokens along them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.layouts import Layout
from gradsight.positions.locations import Call, Floats, Locations, numbered

Grid = tuple[int, ...]

_FEWEST = 8
"""So many tokens along one axis of a picture are no chance."""

_MOST_FACTORINGS = 128
_MOST_LEADING, _MOST_BESIDE = 6, 256
"""How many tokens before positions in an order of their own, and beside those of a known grid, may be none."""

_STEADY = 0.4
"""How much of the step of one digit that of another must be."""

_CERTAIN = 5
"""How many of its standard errors a digit must move tokens by."""

_MOST_TOKENS = 20_000


def is_plain(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether each axis of an output is one of the grid, or one holds all tokens: heads are no part of a position."""
    real = sum(side > 1 for i, side in enumerate(shape) if i != layout.channel_axis)
    return real <= 1 or layout.order is None


class Tokens(NamedTuple):
    """An output with one of its axes taken for channels, and all behind the batch for tokens."""

    axes: tuple[int, ...]
    sides: tuple[int, ...]
    rows: int
    locations: Locations
    shape: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many tokens there are."""
        return math.prod(self.sides)

    @property
    def in_a_row(self) -> bool:
        """Whether one axis of the output holds them all."""
        return sum(side > 1 for side in self.sides) == 1


def rearranged(layout: Layout) -> Iterator[Layout]:
    """The same tokens in the orders that models use: by rows, by columns, by windows or by places in them."""
    if len(layout.axes) != 3 or len(layout.grid) != 2 or layout.frames:
        return
    rows, columns = layout.grid
    cells = np.arange(rows * columns).reshape(rows, columns)
    orders = [cells.ravel(), cells.T.ravel()]
    for side in (i for i in range(2, max(layout.grid)) if rows % i == columns % i == 0):
        windows = cells.reshape(rows // side, side, columns // side, side)
        orders += [windows.transpose(axes).ravel() for axes in ((0, 2, 1, 3), (1, 3, 0, 2))]
    # Where the extra tokens are is the layout's own affair: the others are put into other cells.
    tokens = np.sort(layout.order or np.arange(layout.extra, layout.extra + cells.size))
    for order in orders:
        mixed_up = tuple(int(i) for i in tokens[np.argsort(order)])
        yield Layout(layout.axes, layout.grid, layout.extra, order=mixed_up)


def _flattened(call: Call) -> Iterator[Tokens]:
    """The output with each axis that may hold channels; rows beside the first belong to the same image."""
    for channels, locations in call.locations.items():
        if not any(locations.differ):
            continue
        shape = tuple(side for i, side in enumerate(call.shape) if i != channels)
        # Without an axis of length 1 the first one cannot be the batch of one image: its rows belong to the image.
        rows = 0 if 1 in shape else call.shape[0]
        if rows and channels == 0:
            continue
        wide, axis = ((1, *call.shape), channels + 1) if rows else (call.shape, channels)
        batch = next(i for i, side in enumerate(wide) if side == 1 and i != axis)
        rest = [i for i in range(len(wide)) if i not in (batch, axis)]
        yield Tokens((batch, axis, *rest), tuple(wide[i] for i in rest), rows, locations, shape)


def simple(call: Call, known: frozenset[Grid], size: Sequence[int]) -> Iterator[Layout]:
    """The axes of an output in any order, and known grids among tokens."""
    for flat in _flattened(call):
        yield from _turned(flat, size)
        yield from _along_one(flat, size)
        yield from _among_others(flat, known)


def mixed(call: Call, known: frozenset[Grid]) -> Iterator[Layout]:
    """Tokens in any order that counts along the axes of the image."""
    for flat in _flattened(call):
        if any(flat.locations.tell) and not flat.locations.is_vector:
            yield from _mixed(flat, known)


def _turned(flat: Tokens, size: Sequence[int]) -> Iterator[Layout]:
    """The axes of the output in any order."""
    # Height and width may be exchanged, as in models that think in (x, y).
    if len(flat.sides) == len(size):
        for order in itertools.permutations(range(len(size))):
            axes, grid = (tuple(x[i] for i in order) for x in (flat.axes[2:], flat.sides))
            yield Layout((*flat.axes[:2], *axes), grid, frames=flat.rows)
    if len(flat.sides) == len(size) == 1:  # steps that come backwards
        yield Layout(flat.axes, flat.sides, 0, flat.rows, tuple(range(flat.sides[0]))[::-1])


def _along_one(flat: Tokens, size: Sequence[int]) -> Iterator[Layout]:
    """All tokens along one axis of the image, as where the others were pooled away."""
    if len(flat.sides) >= len(size) or not flat.in_a_row or flat.locations.is_vector:
        return
    if flat.total >= _FEWEST:  # words of a text come in order by chance
        for axis in range(len(size)):
            grid = tuple(flat.total if i == axis else 1 for i in range(len(size)))
            yield Layout(flat.axes, grid, frames=flat.rows)


def _among_others(flat: Tokens, known: frozenset[Grid]) -> Iterator[Layout]:
    """Known grids, somewhere among other tokens."""
    tokens, most = flat.total, _MOST_BESIDE if flat.in_a_row else 0
    for grid in () if flat.locations.is_vector else known:  # a pooled vector is no row of tokens
        count = math.prod(grid)
        for first in range(tokens - count + 1 if count > 1 and tokens - count <= most else 0):
            order = None if first + count == tokens else tuple(range(first, first + count))
            yield Layout(flat.axes, grid, tokens - count, flat.rows, order)


def _mixed(flat: Tokens, known: frozenset[Grid]) -> Iterator[Layout]:
    """Layouts whose tokens count along the axes of the image in some order, as where windows lie behind one another.

    The number of a token is then written in digits, each of which moves it along one axis: what a digit does is read
    off the locations of the tokens.
    """
    locations, tokens = flat.locations, flat.total
    numbers, centres, weights = numbered(locations.indices, flat.shape), locations.centres, locations.weights
    most = min(_MOST_LEADING, tokens - 2) if flat.in_a_row else 0
    grids = {math.prod(grid) for grid in known}
    for extra in sorted(range(most + 1), key=lambda e: (tokens - e not in grids, e)):
        inside = numbers >= extra
        for radices in _factorings(tokens - extra):
            digits = _digits(numbers[inside] - extra, radices, centres[:, inside], weights[inside])
            if digits is not None:
                grid, order = digits
                yield Layout(flat.axes, grid, extra, flat.rows, tuple(int(i) + extra for i in order))


def _digits(
    numbers: NDArray[np.intp], radices: tuple[int, ...], centres: Floats, weights: Floats
) -> tuple[Grid, NDArray[np.intp]] | None:
    """The grid, and which token lies in each of its cells, where each digit moves tokens along one axis of the image.

    Args:
        numbers: of tokens.
        radices: of the digits that their numbers are written in, the slowest first.
        centres: their locations, (axes, tokens).
        weights: how much each counts.
    """
    # Windows of a Swin transformer: a token number is (window row, window column, row, column) in digits.
    moves = _moves(np.stack(np.unravel_index(numbers, radices), 1), centres, weights)
    if moves is None:
        return None
    axes, slopes = moves
    steps, strides = np.abs(slopes), np.ones(len(radices), dtype=np.intp)
    grid = []
    for axis in range(len(centres)):
        own = sorted(np.flatnonzero(axes == axis), key=lambda i: steps[i])  # the finest first
        sides = np.cumprod([1, *(radices[i] for i in own)])
        strides[own] = sides[:-1]
        even = steps[own] / strides[own]
        if len(own) and even.min() < _STEADY * even.max():
            return None  # a digit that moves tokens less than its size says is no part of the position
        grid.append(int(sides[-1]))
    every = np.stack(np.unravel_index(np.arange(math.prod(radices)), radices), 1)
    # A digit may count backwards.
    every = np.where(slopes > 0, every, np.array(radices) - 1 - every) * strides
    coordinates = [every[:, axes == axis].sum(1) for axis in range(len(centres))]
    return tuple(grid), np.argsort(np.ravel_multi_index(coordinates, grid))


def _moves(digits: NDArray[np.intp], centres: Floats, weights: Floats) -> tuple[NDArray[np.intp], Floats] | None:
    """Along which axis each digit moves tokens, and how far; None where one of them moves none, or along two axes."""
    # Weighted least squares: location = offset + digits x steps.
    root = np.sqrt(weights)[:, None]
    equations = np.hstack([np.ones((len(digits), 1)), digits]) * root
    solved, _, rank, _ = np.linalg.lstsq(equations, centres.T * root, rcond=None)
    if rank < equations.shape[1]:
        return None
    left = ((centres.T * root - equations @ solved) ** 2).sum(0) / max(len(digits) - rank, 1)
    errors = np.sqrt(np.diag(np.linalg.inv(equations.T @ equations))[1:, None] * left)
    slopes = solved[1:]
    axes = np.abs(slopes).argmax(1)
    own = np.arange(len(axes)), axes
    others = np.where(np.arange(len(centres)) == axes[:, None], 0, np.abs(slopes)).max(1)
    sure = (np.abs(slopes[own]) > _CERTAIN * errors[own] + 1e-6) & (others < 0.4 * np.abs(slopes[own]))
    return (axes, slopes[own]) if sure.all() else None


def _factorings(number: int) -> Iterator[tuple[int, ...]]:
    """The orders in which the prime factors of a number can come."""
    primes, left, p = [], number, 2
    while left > 1:
        while left % p == 0:
            primes.append(p)
            left //= p
        p += 1
    if not primes or primes[-1] > 64 or number > _MOST_TOKENS:  # no grid has such a side beside another
        return
    yield from itertools.islice(_orders(tuple(primes)), _MOST_FACTORINGS)


def _orders(factors: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Each order of factors, those that are equal counted as one."""
    if not factors:
        yield ()
    for first in dict.fromkeys(factors):
        at = factors.index(first)
        for rest in _orders(factors[:at] + factors[at + 1 :]):
            yield (first, *rest)
