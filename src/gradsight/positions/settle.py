"""The layouts of a model's outputs, settled by where their elements look; by their shapes where those do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gradsight.errors import ModelError
from gradsight.layouts import Layout, layouts, only_layout, proportional
from gradsight.positions.orders import Grid, is_plain, mixed, simple
from gradsight.positions.places import Call

_FOUND = 0.8
"""The correlation that a layout which the shape does not suggest must have."""

_SURE = 0.95
"""The correlation from which on what the shape suggests is believed at once."""

_LIKING = 0.02
"""How much more evidence a known grid counts for, and each token that is no position less."""

_HOLDS = 0.5
"""The correlation below which a layout that the shape suggests is wrong, where positions do tell."""


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
        return only_layout(name, shape, self.ways_of(name, shape, count, size), count)

    def ways_of(self, name: str, shape: Sequence[int], count: int, size: Sequence[int]) -> Sequence[Layout]:
        """The layouts that a call's output for ``count`` images may have; by its shape where another one was seen."""
        name = self._key(name)
        if name in self.shapes and _same_make(shape, self.shapes[name], count):
            return self.ways[name]
        return layouts(shape, count, size)

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
    pool = _Pool()
    for name, call in calls.items():
        best = _best(call, usual[name], _SURE) or _best(
            call, [*usual[name], *pool.of_make(call.shape), *simple(call, pool.grids, size)], _FOUND, pool.grids
        )
        if best is None and call.tells(any) and call.shape not in searched:
            best = _in_order(call, pool.grids, size)
            if best is None:
                searched.add(call.shape)
        if best is not None:
            found[name] = best
            pool.add(best)
    ways: dict[str, tuple[Layout, ...]] = {}
    scrambled = set()
    for name, call in calls.items():
        layout = _one(call, found.get(name), pool, usual[name])
        ways[name] = _by_shape(call, usual[name], pool, size) if layout is None else (layout,)
        if layout is None and any(_is_of_hidden(x, call.shape, ways) for x in ways[name]):
            ways[name] = ()
        if not ways[name] and call.tells(all):
            scrambled.add(name)
    return Positions({name: call.shape for name, call in calls.items()}, ways, frozenset(scrambled))


def _one(call: Call, own: _Settled | None, pool: _Pool, usual: Sequence[Layout]) -> Layout | None:
    """The layout of a call: that of its make which was found most surely, unless its elements tell another."""
    for layout in pool.of_make(call.shape):
        if call.evidence(layout) > (_HOLDS if own is None else own.score - 0.05):
            return layout
    likely = own or _best(call, [x for x in usual if x.grid in pool.grids or len(x.axes) > 3], _HOLDS)
    return None if likely is None else likely.layout


def _is_of_hidden(layout: Layout, shape: tuple[int, ...], ways: Mapping[str, tuple[Layout, ...]]) -> bool:
    """Whether a layout of a signal has a grid that no layer before had, where its channels are as many as one had."""
    if len(layout.grid) > 1:
        return False
    before = {x.grid for name in ways for x in ways[name] if x is not layout}
    return layout.grid not in before and (layout.channels(shape),) in before


def _by_shape(call: Call, usual: Sequence[Layout], pool: _Pool, size: Sequence[int]) -> tuple[Layout, ...]:
    """The layouts of an output whose elements do not tell: of its make, or as its shape has it.

    A grid that is stretched is no one's guess. What the image reaches, as it reaches the queries of a detector, is no
    grid by its number of tokens alone: its elements must support that.
    """
    makes = [] if call.tells(any) else [x for x in pool.of_make(call.shape) if x.channels(call.shape) > 1]
    makes = [x for x in makes if not call.reached or call.supports(x)]
    if makes and call.reached:
        return (makes[0],)
    if makes:
        as_many = len(set(call.shape)) == 2 == len(call.shape) - 1  # tokens and channels: nothing tells which is which
        return tuple(dict.fromkeys([makes[0], *map(_exchanged, makes if as_many else ())]))
    dense = [x for x in usual if len(x.axes) - 2 == len(x.grid) == len(size)]
    fits = [x for x in dense or layouts(call.shape, 1, size, pool.grids) if _is_likely(x, call, pool.grids, size)]
    return tuple(fits)


def _is_likely(layout: Layout, call: Call, known: frozenset[Grid], size: Sequence[int]) -> bool:
    """Whether a layout is to be believed by the shape alone."""
    if call.contradicts(layout, known) or not (layout.grid in known or proportional(layout.grid, size)):
        return False
    if len(layout.axes) > 3 or not (known and call.reached):
        return True
    if len(size) > 1:
        return call.supports(layout)
    if layout.grid in known:
        return True
    others = (x for x in simple(call, known, size) if x.channel_axis != layout.channel_axis)
    return max(map(call.evidence, others), default=0.0) <= max(call.evidence(layout), _HOLDS)


def _exchanged(layout: Layout) -> Layout:
    """The same with channels and tokens, which are as many, the other way round."""
    batch, channels, tokens = layout.axes
    return Layout((batch, tokens, channels), layout.grid, layout.extra, layout.frames, layout.order)


class _Pool:
    """The layouts that were found, for outputs of the same make: later ones keep the order of earlier ones."""

    def __init__(self) -> None:
        self._best: dict[Layout, _Settled] = {}
        self.grids: frozenset[Grid] = frozenset()

    def add(self, settled: _Settled) -> None:
        """Know one more; of one layout the surest counts."""
        before = self._best.get(settled.layout)
        if before is None or settled.score > before.score:
            self._best[settled.layout] = settled
        self.grids |= {settled.layout.grid}

    def of_make(self, shape: tuple[int, ...]) -> list[Layout]:
        """The layouts that an output of ``shape`` may have too, those found most surely first."""
        own = [settled for settled in self._best.values() if _same_but_channels(shape, settled)]
        return [settled.layout for settled in sorted(own, key=lambda settled: -settled.score)]


def _same_but_channels(shape: tuple[int, ...], settled: _Settled) -> bool:
    axis = settled.layout.channel_axis
    if len(shape) != len(settled.shape):
        return False
    return all(a == b or i == axis for i, (a, b) in enumerate(zip(shape, settled.shape, strict=True)))


def _best(call: Call, options: Iterable[Layout], least: float, known: frozenset[Grid] = frozenset()) -> _Settled | None:
    """Of some layouts the one that the elements tell of most surely; None where they tell of none.

    One token more or less hardly shows: of layouts that are told of alike, a known grid is meant, and fewer tokens
    that are none.
    """
    scored = [_Settled(layout, call.evidence(layout), call.shape) for layout in options]

    def liking(x: _Settled) -> float:
        return x.score + _LIKING * ((x.layout.grid in known) - min(x.layout.extra, 3))

    return max((x for x in scored if x.score >= least), key=liking, default=None)


def _in_order(call: Call, known: frozenset[Grid], size: Sequence[int]) -> _Settled | None:
    """The layout of tokens in an order of their own; None where none is found."""
    made = list(mixed(call, known))
    likely = [layout for layout in made if layout.grid in known or proportional(layout.grid, size)]
    rest = [layout for layout in made if is_plain(layout, call.shape)]
    return _best(call, likely, _FOUND, known) or _best(call, rest, _FOUND, known)
