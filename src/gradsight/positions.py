"""How positions of the input reach positions of a layer, found by trial.

Noise is laid over an image: evenly, and then growing along one axis after the other. Where an element of a layer
answers the growing noise as it answers the even one, times r, it looks at the part of the image that lies at r, from 0
to 1, along that axis. That tells for every layout that its output could have whether the positions that the layout
gives to elements are those that they look at. Shapes are believed only where no element tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import ModelError
from gradsight.layouts import Layout, layouts, only_layout, proportional

Floats = NDArray[np.float64]
_Grid = tuple[int, ...]

_FOUND = 0.8
"""The correlation that a layout which the shape does not suggest must have."""

_HOLDS = 0.5
"""The correlation below which a layout that the shape suggests is wrong, where positions do tell."""

_TELLS = (0.04, 0.7)
"""Positions tell when the places that elements look at spread this much, even ones spread by 0.29, and when two halves
of the channels agree on them with this correlation."""

CHANNELS = 24
SAMPLES = {1: 768, 2: 28, 3: 10}
"""Of so many channels, and so many positions along an axis where there are so many axes, elements are looked at."""

_FEW = 16
"""Of so many elements, a place that lies elsewhere counts double: few agree by chance."""

_MOST_FACTORINGS = 128
_MOST_LEADING, _MOST_BESIDE = 6, 256
"""How many tokens before positions in an order of their own, and beside those of a known grid, may be none."""

_STEADY = 0.4
"""How much of the step of one digit that of another must be."""

_CERTAIN = 5
"""How many of its standard errors a digit must move tokens by."""

_MOST_TOKENS = 20_000


@dataclass(frozen=True)
class Places:
    """Where elements of an output look, if one of its axes holds channels.

    Attributes:
        indices: of each other axis, those that were looked at.
        energy: how strongly elements answer, for two halves of the channels: (2, ...).
        moments: the same times the place that they look at, by axis of the image: (axes, 2, ...).
    """

    indices: tuple[NDArray[np.intp], ...]
    energy: Floats
    moments: Floats

    def decoded(self, half: int | None = None) -> Floats:
        """Where elements look, by axis of the image, from 0 to 1: (axes, elements)."""
        halves = slice(None) if half is None else slice(half, half + 1)
        energy = self.energy[halves].sum(0)
        moments = self.moments[:, halves].sum(1)
        places: Floats = np.divide(moments, energy, out=np.zeros_like(moments), where=energy > 0)
        return places.reshape(len(moments), -1)

    @cached_property
    def weights(self) -> Floats:
        """How much an element counts: one that hardly answers says little, and one that answers most says no more."""
        energy: Floats = self.energy.sum(0).ravel()
        answering = energy[energy > 0]
        counts: Floats = energy / (energy + np.median(answering)) if answering.size else energy
        return counts

    @cached_property
    def tell(self) -> tuple[bool, ...]:
        """By axis of the image, whether elements look at different places along it."""
        weights = self.weights
        if not weights.any():
            return (False,) * len(self.moments)
        spread, least = _TELLS
        single = not self.energy[1].any()  # a single channel has nothing to agree with
        halves = zip(self.decoded(), self.decoded(0), self.decoded(1), strict=True)
        return tuple(
            _spread(whole, weights) > spread and (single or correlation(first, second, weights) > least)
            for whole, first, second in halves
        )


class Call(NamedTuple):
    """One call of one module in the trial.

    Attributes:
        shape: of its output for one image.
        places: by the axis that could hold channels.
    """

    shape: tuple[int, ...]
    places: Mapping[int, Places]

    def evidence(self, layout: Layout) -> float:
        """How well the positions that a layout gives to elements are those that they look at, from -1 to 1."""
        axis = channel_axis(layout)
        places = self.places.get(axis)
        if places is None or not places.energy.any():
            return 0.0
        rest = tuple(1 if i == axis else side for i, side in enumerate(self.shape))
        source = layout.fold(np.arange(math.prod(rest)).reshape(rest), np)
        cells = np.full(math.prod(rest), -1)
        cells[source.ravel()] = np.arange(source.size)
        sampled = cells[_flat(places.indices, tuple(side for i, side in enumerate(self.shape) if i != axis))]
        seen = sampled >= 0
        weights = places.weights[seen]
        if not weights.any():
            return 0.0
        wanted = np.unravel_index(sampled[seen], layout.grid)
        found = [
            agreement(decoded[seen], (place + 0.5) / side, weights) if places.tell[i] else 0.0
            for i, (decoded, place, side) in enumerate(zip(places.decoded(), wanted, layout.grid, strict=True))
            if side > 1 or self._tells(i)
        ]
        return 1 - (1 - min(found, default=0.0)) * (1 + _FEW / len(weights))

    def _tells(self, axis: int) -> bool:
        """Whether elements look at different places along one axis of the image, whichever axis holds channels."""
        return any(places.tell[axis] for places in self.places.values())

    @property
    def reached(self) -> bool:
        """Whether anything of the image comes to it."""
        return any(places.energy.any() for places in self.places.values())

    def tells(self, how_many: Callable[[Iterable[bool]], bool]) -> bool:
        """Whether elements look at different places along any axis, or all axes, of the image."""
        return any(how_many(places.tell) for places in self.places.values())


@dataclass(frozen=True)
class Positions:
    """How the outputs of a model's layers are laid out.

    Attributes:
        shapes: by call, ``name#0`` the first and ``name`` the last, the shape of its output for one image.
        ways: by call, every layout that its output may have: one where there is no doubt, none without positions.
        scrambled: the calls whose elements look at different places, in no order that was found.
    """

    shapes: Mapping[str, tuple[int, ...]]
    ways: Mapping[str, tuple[Layout, ...]]
    scrambled: frozenset[str] = frozenset()

    def layout(self, name: str, shape: Sequence[int], count: int, size: Sequence[int]) -> Layout:
        """The layout of a call that gave an output of ``shape`` for ``count`` images with positions ``size``.

        Raises:
            ModelError: it has none, or none that is known.
            AmbiguousLayout: it may have several.
        """
        name = self._key(name)
        if name in self.scrambled:
            raise ModelError(
                f"layer {name!r} gives an output of shape {tuple(shape)}, whose positions come in an order that no "
                "grid has: a change of the image in one place shows where no layout would have it. Name another layer "
                "(`gradsight layers` or `explainer.layers(batch)` lists them), or pass `layout=` and `grid=`."
            )
        ways = self.ways_of(name, shape, count)
        return only_layout(name, shape, layouts(shape, count, size) if ways is None else ways, count)

    def ways_of(self, name: str, shape: Sequence[int], count: int) -> tuple[Layout, ...] | None:
        """The layouts that a call's output for ``count`` images may have; None where another shape was seen."""
        name = self._key(name)
        same = name in self.shapes and _same_make(shape, self.shapes[name], count)
        return self.ways[name] if same else None

    def _key(self, name: str) -> str:
        return name if name in self.ways else name.partition("#")[0]  # the last call has the plain name


def _same_make(shape: Sequence[int], alone: Sequence[int], count: int) -> bool:
    """Whether an output for ``count`` images is of the shape that one image's has."""
    differ = [(a, b) for a, b in zip(shape, alone, strict=True) if a != b] if len(shape) == len(alone) else [(0, 1)]
    return all(a == b * count for a, b in differ) and len(differ) <= 1


class _Settled(NamedTuple):
    """A layout that was found, how surely, and the shape of the output that it was found for."""

    layout: Layout
    score: float
    shape: tuple[int, ...]


def settle(calls: Mapping[str, Call], usual: Mapping[str, Sequence[Layout]], size: Sequence[int]) -> Positions:
    """Find the layouts of calls, in the order they ran.

    Args:
        calls: what each gave in the trial.
        usual: the layouts that the framework would have it, by call, the likeliest first.
        size: the positions of the image.
    """
    found: dict[str, _Settled] = {}
    searched: set[tuple[int, ...]] = set()  # in vain; later outputs of the same shape tell less
    for name, call in calls.items():
        pool = _Pool(found)
        best = _best(call, usual[name], _FOUND) or _best(call, pool.of_make(call.shape), _FOUND)
        if best is None and call.shape not in searched:
            best = _searched(call, pool.grids, size)
            if best is None:
                searched.add(call.shape)
        if best is not None:
            found[name] = best
    pool = _Pool(found)
    ways: dict[str, tuple[Layout, ...]] = {}
    scrambled = set()
    for name, call in calls.items():
        layout = _one(call, found.get(name), pool, usual[name])
        if layout is not None:
            ways[name] = (layout,)
        elif call.tells(all):
            ways[name] = ()
            scrambled.add(name)
        else:
            ways[name] = _by_shape(call, usual[name], pool.grids, size)
    return Positions({name: call.shape for name, call in calls.items()}, ways, frozenset(scrambled))


def _one(call: Call, own: _Settled | None, pool: _Pool, usual: Sequence[Layout]) -> Layout | None:
    """The layout of a call: that of its make which was found most surely, unless its elements tell another."""
    silent = own is None and not call.tells(any)
    for layout in pool.of_make(call.shape):
        if own is None and call.evidence(layout) > _HOLDS:
            return layout
        if silent and layout.channels(call.shape) > 1:  # a pooled vector has as many channels as a grid by chance
            return layout
        if own is not None and call.evidence(layout) > own.score - 0.05:
            return layout
    likely = own or _best(call, usual, _HOLDS)
    return None if likely is None else likely.layout


def _by_shape(call: Call, usual: Sequence[Layout], known: frozenset[_Grid], size: Sequence[int]) -> tuple[Layout, ...]:
    """The layouts of an output whose elements tell nothing.

    Beside grids that were found, another one is none, and flattened positions are the hidden units of tokens; a grid
    that is stretched is no one's guess.
    """
    dense = [x for x in usual if len(x.axes) - 2 == len(x.grid) == len(size)]
    options = dense or layouts(call.shape, 1, size, known)
    if known and call.reached:
        return tuple(x for x in options if x.grid in known and (x in dense or channel_axis(x) > 1))
    return tuple(x for x in options if x.grid in known or proportional(x.grid, size))


class _Pool:
    """The layouts that were found, for outputs of the same make: later ones keep the order of earlier ones."""

    def __init__(self, found: Mapping[str, _Settled]) -> None:
        self._best: dict[Layout, _Settled] = {}
        for settled in found.values():
            if settled.layout not in self._best or settled.score > self._best[settled.layout].score:
                self._best[settled.layout] = settled
        self.grids = frozenset(layout.grid for layout in self._best)

    def of_make(self, shape: tuple[int, ...]) -> list[Layout]:
        """The layouts that an output of ``shape`` may have too, those found most surely first."""
        own = [settled for settled in self._best.values() if _same_but_channels(shape, settled)]
        return [settled.layout for settled in sorted(own, key=lambda settled: -settled.score)]


def _same_but_channels(shape: tuple[int, ...], settled: _Settled) -> bool:
    axis = channel_axis(settled.layout)
    if len(shape) != len(settled.shape):
        return False
    return all(a == b or i == axis for i, (a, b) in enumerate(zip(shape, settled.shape, strict=True)))


def _best(call: Call, options: Iterable[Layout], least: float) -> _Settled | None:
    """Of some layouts the one that the elements tell of most surely; None where they tell of none."""
    scored = [_Settled(layout, call.evidence(layout), call.shape) for layout in options]
    return max((x for x in scored if x.score >= least), key=lambda x: x.score, default=None)


def _searched(call: Call, known: frozenset[_Grid], size: Sequence[int]) -> _Settled | None:
    """The layout that no shape suggests and that the elements tell of; None for none."""
    for options in (_turned, _among_others, _mixed):
        made = [layout for flat in _flattened(call) for layout in options(flat, known, size)]
        likely = [layout for layout in made if layout.grid in known or proportional(layout.grid, size)]
        best = _best(call, likely, _FOUND) or _best(call, [x for x in made if _plain(x, call.shape)], _FOUND)
        if best is not None:
            return best
    return None


def _plain(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether each axis of an output is one of the grid, or one holds all tokens: heads are no part of a position."""
    real = sum(side > 1 for i, side in enumerate(shape) if i != channel_axis(layout))
    return real <= 1 or layout.order is None


class _Tokens(NamedTuple):
    """An output with one of its axes taken for channels, and all behind the batch for tokens."""

    axes: tuple[int, ...]
    sides: tuple[int, ...]
    rows: int
    places: Places
    shape: tuple[int, ...]


def _flattened(call: Call) -> Iterator[_Tokens]:
    """The ways to take an axis for channels; rows beside the first belong to the same image."""
    for channels, places in call.places.items():
        if not any(places.tell):
            continue
        rows = call.shape[0] if call.shape[0] > 1 and channels > 0 else 0
        for split in {0, rows}:
            wide = (1, *call.shape) if split else call.shape
            axis = channels + bool(split)
            batch = next((i for i, side in enumerate(wide) if side == 1 and i != axis), None)
            if batch is not None:
                rest = [i for i in range(len(wide)) if i not in (batch, axis)]
                shape = tuple(side for i, side in enumerate(call.shape) if i != channels)
                yield _Tokens((batch, axis, *rest), tuple(wide[i] for i in rest), split, places, shape)


def _turned(flat: _Tokens, _known: frozenset[_Grid], size: Sequence[int]) -> Iterator[Layout]:
    """The axes of the output in any order."""
    if len(flat.sides) == len(size):
        for order in itertools.permutations(range(len(size))):
            axes, grid = (tuple(x[i] for i in order) for x in (flat.axes[2:], flat.sides))
            yield Layout((*flat.axes[:2], *axes), grid, frames=flat.rows)


def _among_others(flat: _Tokens, known: frozenset[_Grid], _size: Sequence[int]) -> Iterator[Layout]:
    """Known grids, somewhere among other tokens."""
    tokens = math.prod(flat.sides)
    most = _MOST_BESIDE if sum(side > 1 for side in flat.sides) == 1 else 0
    for grid in known:
        count = math.prod(grid)
        for first in range(tokens - count + 1 if count > 1 and tokens - count <= most else 0):
            order = None if first + count == tokens else tuple(range(first, first + count))
            yield Layout(flat.axes, grid, tokens - count, flat.rows, order)


def _mixed(flat: _Tokens, known: frozenset[_Grid], _size: Sequence[int]) -> Iterator[Layout]:
    """Layouts whose tokens count along the axes of the image in some order, as where windows lie behind one another.

    The number of a token is then written in digits, each of which moves it along one axis: what a digit does is read
    off where the tokens look.
    """
    places, tokens = flat.places, math.prod(flat.sides)
    numbers, decoded, weights = _flat(places.indices, flat.shape), places.decoded(), places.weights
    most = min(_MOST_LEADING, tokens - 2) if sum(side > 1 for side in flat.sides) == 1 else 0
    grids = {math.prod(grid) for grid in known}
    for extra in sorted(range(most + 1), key=lambda e: (tokens - e not in grids, e)):
        inside = numbers >= extra
        for radices in _factorings(tokens - extra):
            found = _digits(numbers[inside] - extra, radices, decoded[:, inside], weights[inside])
            if found is not None:
                grid, order = found
                yield Layout(flat.axes, grid, extra, flat.rows, tuple(int(i) + extra for i in order))


def _digits(
    numbers: NDArray[np.intp], radices: tuple[int, ...], decoded: Floats, weights: Floats
) -> tuple[_Grid, NDArray[np.intp]] | None:
    """The grid, and which token lies in each of its cells, where each digit moves tokens along one axis of the image.

    Args:
        numbers: of tokens.
        radices: of the digits that their numbers are written in, the slowest first.
        decoded: where they look, (axes, tokens).
        weights: how much each counts.
    """
    moves = _moves(np.stack(np.unravel_index(numbers, radices), 1), decoded, weights)
    if moves is None:
        return None
    axes, slopes = moves
    steps, strides = np.abs(slopes), np.ones(len(radices), dtype=np.intp)
    grid = []
    for axis in range(len(decoded)):
        own = sorted(np.flatnonzero(axes == axis), key=lambda i: steps[i])  # the finest first
        sides = np.cumprod([1, *(radices[i] for i in own)])
        strides[own] = sides[:-1]
        even = steps[own] / strides[own]
        if len(own) and even.min() < _STEADY * even.max():
            return None  # a digit that moves tokens less than its place says is none of the position
        grid.append(int(sides[-1]))
    every = np.stack(np.unravel_index(np.arange(math.prod(radices)), radices), 1)
    every = np.where(slopes > 0, every, np.array(radices) - 1 - every) * strides
    coordinates = [every[:, axes == axis].sum(1) for axis in range(len(decoded))]
    return tuple(grid), np.argsort(np.ravel_multi_index(coordinates, grid))


def _moves(digits: NDArray[np.intp], decoded: Floats, weights: Floats) -> tuple[NDArray[np.intp], Floats] | None:
    """Along which axis each digit moves tokens, and how far; None where one of them moves none, or along two axes."""
    root = np.sqrt(weights)[:, None]
    equations = np.hstack([np.ones((len(digits), 1)), digits]) * root
    solved, _, rank, _ = np.linalg.lstsq(equations, decoded.T * root, rcond=None)
    if rank < equations.shape[1]:
        return None
    left = ((decoded.T * root - equations @ solved) ** 2).sum(0) / max(len(digits) - rank, 1)
    errors = np.sqrt(np.diag(np.linalg.inv(equations.T @ equations))[1:, None] * left)
    slopes = solved[1:]
    axes = np.abs(slopes).argmax(1)
    own = np.arange(len(axes)), axes
    others = np.where(np.arange(len(decoded)) == axes[:, None], 0, np.abs(slopes)).max(1)
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
    seen = dict.fromkeys(itertools.islice(_orders(tuple(primes)), _MOST_FACTORINGS))
    yield from seen


def _orders(factors: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Each order of factors, those that are equal counted as one."""
    if not factors:
        yield ()
    for first in dict.fromkeys(factors):
        at = factors.index(first)
        for rest in _orders(factors[:at] + factors[at + 1 :]):
            yield (first, *rest)


def channel_axis(layout: Layout) -> int:
    """The axis of an output that holds its channels."""
    return layout.axes[1] - (1 if layout.frames else 0)


def _flat(indices: Sequence[NDArray[np.intp]], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The elements that were looked at, numbered over all axes."""
    return np.ravel_multi_index(np.meshgrid(*indices, indexing="ij"), shape).ravel()


def correlation(a: Floats, b: Floats, weights: Floats) -> float:
    """The weighted correlation of two rows of numbers; 0 where one of them does not vary."""
    share = weights / weights.sum()
    a, b = a - share @ a, b - share @ b
    scale = math.sqrt((share @ a**2) * (share @ b**2))
    return float(share @ (a * b)) / scale if scale > 1e-12 else 0.0


def agreement(looked: Floats, laid: Floats, weights: Floats) -> float:
    """How well the places where elements look go with those where they lie: not only in step, but not shifted."""
    share = weights / weights.sum()
    shift, spread = share @ (looked - laid), _spread(laid, weights)
    return correlation(looked, laid, weights) - float(shift / spread) ** 2 if spread > 0 else 0.0


def _spread(values: Floats, weights: Floats) -> float:
    share = weights / weights.sum()
    return math.sqrt(share @ (values - share @ values) ** 2)
