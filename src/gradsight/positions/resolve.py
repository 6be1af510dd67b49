"""How the outputs of a model's layers are laid out.

What counts is which part of the image each element depends on. The shapes of the outputs are used where this says
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gradsight.errors import ModelError
from gradsight.layouts import Layout, layouts, only_layout, proportional
from gradsight.positions.locations import Call
from gradsight.positions.orders import Grid, is_plain, mixed, rearranged, simple

_FOUND = 0.8
"""A layout that the shape does not suggest needs at least this correlation."""

_SURE = 0.95
"""From this correlation on, a layout that the shape suggests is taken without a further search."""

_LIKING = 0.02
"""Added for a grid that other layers have, and subtracted for each token that is no position."""

_HOLDS = 0.5
"""Below this correlation a layout that the shape suggests is wrong, where elements depend on different locations."""

_DECISIVE, _DOUBTFUL = 6.0, 2.0
"""A layout is taken against a likely one if its likelihood is e to the first as much; above the second it is open."""

_EQUAL = 1e-6
"""A difference below this is of rounding: the layouts are the same, or fit alike."""


@dataclass(frozen=True)
class Positions:
    """How the outputs of a model's layers are laid out.

    Attributes:
        shapes: by call, ``name#0`` the first and ``name`` the last, the shape of its output for one image.
        layouts: by call, every layout that its output may have: one where there is no doubt, none without positions.
        scrambled: the calls whose elements depend on different locations, in an order that no grid has.
    """

    shapes: Mapping[str, tuple[int, ...]]
    layouts: Mapping[str, tuple[Layout, ...]]
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
                "grid has: a change at one position of the image shows where no layout would have it. Name another "
                "layer (`gradsight layers` or `explainer.layers(batch)` lists them), or pass `layout=` and `grid=`."
            )
        return only_layout(name, shape, self.layouts_of(name, shape, count, size), count)

    def layouts_of(self, name: str, shape: Sequence[int], count: int, size: Sequence[int]) -> Sequence[Layout]:
        """The layouts that a call's output for ``count`` images may have; by its shape where another one was seen."""
        name = self._key(name)
        if name in self.shapes and _is_same_but_count(shape, self.shapes[name], count):
            return self.layouts[name]
        return layouts(shape, count, size)

    def _key(self, name: str) -> str:
        return name if name in self.layouts else name.partition("#")[0]  # the last call has the plain name


def _is_same_but_count(shape: Sequence[int], alone: Sequence[int], count: int) -> bool:
    """Whether an output for ``count`` images is of the shape that one image's has."""
    differ = [(a, b) for a, b in zip(shape, alone, strict=True) if a != b] if len(shape) == len(alone) else [(0, 1)]
    return all(a == b * count for a, b in differ) and len(differ) <= 1


class _Match(NamedTuple):
    """A layout that fits an output, how well (a correlation), and the shape of the output."""

    layout: Layout
    score: float
    shape: tuple[int, ...]


def resolve_layouts(calls: Mapping[str, Call], usual: Mapping[str, Sequence[Layout]], size: Sequence[int]) -> Positions:
    """Find the layouts of calls.

    Args:
        calls: what each call gave in the trial, in the order they ran.
        usual: by call, the layouts that are usual in the framework, the likeliest first.
        size: the positions of the image.
    """
    matches: dict[str, _Match] = {}
    doubts: dict[str, tuple[Layout, ...]] = {}
    # Searched in vain. Deeper outputs are noisier, so another output of the same shape is not searched again.
    searched: set[tuple[int, ...]] = set()
    pool = _Pool()
    for name, call in calls.items():
        # The cheap and likely layouts first: a search through all orders costs most of the time.
        best = _best(call, usual[name], _SURE) or _best(
            call, [*usual[name], *pool.like(call.shape), *simple(call, pool.grids, size)], _FOUND, pool.grids
        )
        if best is None and call.tells(any) and call.shape not in searched:
            best = _in_order(call, pool.grids, size)
            if best is None:
                searched.add(call.shape)
        if best is None:
            continue
        rival = _rival(call, best.layout, _likelier(call, best.layout, pool, size))
        if rival is None:
            matches[name] = best
            pool.add(best)
        elif call.favours(best.layout, rival) > _DOUBTFUL:
            doubts[name] = (rival, best.layout)
    layouts_by_call: dict[str, tuple[Layout, ...]] = {}
    scrambled = set()
    for name, call in calls.items():
        certain = doubts.get(name) or _certain(call, matches.get(name), pool, usual[name])
        layouts_by_call[name] = certain or _by_shape(call, usual[name], pool, size)
        # The channels of a recurrent layer are no positions, though their number may look like a grid.
        if not certain and any(_is_of_hidden(x, call.shape, layouts_by_call) for x in layouts_by_call[name]):
            layouts_by_call[name] = ()
        if not layouts_by_call[name] and call.tells(all):
            scrambled.add(name)
    return Positions({name: call.shape for name, call in calls.items()}, layouts_by_call, frozenset(scrambled))


def _likelier(call: Call, layout: Layout, pool: _Pool, size: Sequence[int]) -> list[Layout]:
    """The layouts that are likelier than one that was found, before anything was tried."""
    likelier = pool.like(call.shape)
    # Row by row, 64 tokens of an 8 x 8 grid lie almost as 64 rows do: where noise hides the columns, only the number
    # of tokens speaks for the grid.
    if len(layout.axes) == 3 and 1 in layout.grid:
        for known in (pool.grids, frozenset[Grid]()):
            likelier += layouts(call.shape, 1, size, known)
    return likelier


def _rival(call: Call, layout: Layout, others: Iterable[Layout]) -> Layout | None:
    """Of layouts that are likelier beforehand, the one that fits best, unless ``layout`` fits decidedly better."""
    rivals = [x for x in others if x != layout]
    best = min(rivals, key=lambda x: call.favours(layout, x), default=None)
    return None if layout in others or best is None or call.favours(layout, best) > _DECISIVE else best


def _certain(call: Call, own: _Match | None, pool: _Pool, usual: Sequence[Layout]) -> tuple[Layout, ...]:
    """The layout of a call, where it is certain: one that outputs of the same shape have, or its own.

    There are several where outputs of the same shape have several that the call does not tell apart.
    """
    alike = pool.like(call.shape)
    fitting = [x for x in alike if call.evidence(x) > (_HOLDS if own is None else own.score - 0.05)]
    if fitting:
        return _alike(call, fitting)
    likely = own or _best(call, [x for x in usual if x.grid in pool.grids or len(x.axes) > 3], _HOLDS)
    if likely is None or (own is None and _rival(call, likely.layout, alike)):
        return ()
    return (likely.layout,)


def _alike(call: Call, options: Sequence[Layout]) -> tuple[Layout, ...]:
    """Of layouts that outputs of the same shape have, the one that fits best, and those that fit as well."""
    best = max(options, key=lambda x: call.favours(x, options[0]))
    return (best, *(x for x in options if x != best and call.favours(best, x) <= _DOUBTFUL))


def _is_of_hidden(layout: Layout, shape: tuple[int, ...], layouts_by_call: Mapping[str, tuple[Layout, ...]]) -> bool:
    """Whether a signal's grid is new, while its number of channels is the grid of an earlier layer.

    Then channels and positions are the other way round: it is the hidden state of a recurrent layer.
    """
    if len(layout.grid) > 1:
        return False
    before = {x.grid for name in layouts_by_call for x in layouts_by_call[name] if x is not layout}
    return layout.grid not in before and (layout.channels(shape),) in before


def _by_shape(call: Call, usual: Sequence[Layout], pool: _Pool, size: Sequence[int]) -> tuple[Layout, ...]:
    """The layouts of an output whose elements say nothing clear: those of like outputs, or those that its shape allows.

    A grid that is stretched against the image is never guessed. If the elements depend on the image, as the queries of
    a detector do, the number of tokens alone alike no grid: the elements must support it.
    """
    alike = [x for x in pool.like(call.shape) if x.channels(call.shape) > 1]
    if alike and call.reached:
        # The number of tokens says no more than that they may be those of earlier outputs: locations must support it.
        supported = [x for x in alike if _is_supported(call, x)]
        if supported:
            return _alike(call, supported)
    elif alike:
        as_many = len(set(call.shape)) == 2 == len(call.shape) - 1  # nothing tells tokens from channels
        return tuple(dict.fromkeys([alike[0], *map(_exchanged, alike if as_many else ())]))
    # Axes that stand for themselves are more than a guess; tokens are folded only where there are none.
    dense = [x for x in usual if len(x.axes) - 2 == len(x.grid) == len(size)]
    fits = [x for x in dense or layouts(call.shape, 1, size, pool.grids) if _is_likely(x, call, pool.grids, size)]
    # Tokens that are as many as those of earlier outputs have no other layout than these, where these had but one.
    return tuple(x for x in fits if not alike or len(x.axes) > 3 or alike == [x])


def _is_likely(layout: Layout, call: Call, known: frozenset[Grid], size: Sequence[int]) -> bool:
    """Whether the shape alone is reason enough for a layout."""
    if call.contradicts(layout, known) or not (layout.grid in known or proportional(layout.grid, size)):
        return False
    # With more than three axes the shape has positions of its own.
    if len(layout.axes) > 3 or not (known and call.reached):
        return True
    if len(size) > 1:
        return _is_supported(call, layout)
    if layout.grid in known:
        return True
    others = (x for x in simple(call, known, size) if x.channel_axis != layout.channel_axis)
    return max(map(call.evidence, others), default=0.0) <= max(call.evidence(layout), _HOLDS)


def _is_supported(call: Call, layout: Layout) -> bool:
    """Whether locations agree with a layout a little, and with no other usual order of the same tokens better."""
    # Tokens that come window by window lie a little as by rows too.
    return call.supports(layout) and all(call.favours(x, layout) < _EQUAL for x in rearranged(layout))


def _exchanged(layout: Layout) -> Layout:
    """The same layout with channels and tokens exchanged."""
    batch, channels, tokens = layout.axes
    return Layout((batch, tokens, channels), layout.grid, layout.extra, layout.frames, layout.order)


class _Pool:
    """The layouts of earlier outputs: later outputs of the same shape, up to the channels, have the same order."""

    def __init__(self) -> None:
        self._best: dict[Layout, _Match] = {}
        self.grids: frozenset[Grid] = frozenset()

    def add(self, match: _Match) -> None:
        """Add a match; of the matches with one layout the best counts."""
        before = self._best.get(match.layout)
        if before is None or match.score > before.score:
            self._best[match.layout] = match
        self.grids |= {match.layout.grid}

    def like(self, shape: tuple[int, ...]) -> list[Layout]:
        """The layouts of earlier outputs that an output of ``shape`` may have too, the best match first."""
        own = [match for match in self._best.values() if _same_but_channels(shape, match)]
        return [match.layout for match in sorted(own, key=lambda match: -match.score)]


def _same_but_channels(shape: tuple[int, ...], match: _Match) -> bool:
    axis = match.layout.channel_axis
    if len(shape) != len(match.shape):
        return False
    return all(a == b or i == axis for i, (a, b) in enumerate(zip(shape, match.shape, strict=True)))


def _best(call: Call, options: Iterable[Layout], least: float, known: frozenset[Grid] = frozenset()) -> _Match | None:
    """The layout that fits the elements best; None where none fits.

    One token more or less hardly changes the fit: of layouts that fit alike, one with a known grid is preferred, and
    one with fewer tokens that are no position.
    """
    scored = [_Match(layout, call.evidence(layout), call.shape) for layout in options]

    def liking(x: _Match) -> float:
        return x.score + _LIKING * ((x.layout.grid in known) - min(x.layout.extra, 3))

    return max((x for x in scored if x.score >= least), key=liking, default=None)


def _in_order(call: Call, known: frozenset[Grid], size: Sequence[int]) -> _Match | None:
    """The layout of tokens in an unusual order, such as windows one after another; None where there is none."""
    orders = list(mixed(call, known))
    likely = [layout for layout in orders if layout.grid in known or proportional(layout.grid, size)]
    rest = [layout for layout in orders if is_plain(layout, call.shape)]
    return _best(call, likely, _FOUND, known) or _best(call, rest, _FOUND, known)
