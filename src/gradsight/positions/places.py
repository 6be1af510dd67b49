"""Where elements of an output look, and how well that goes with a layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.cached import cached_property
from gradsight.layouts import Layout

Floats = NDArray[np.float64]

_SPREAD = 0.04
"""How much the places that elements look at differ at least, where they tell; even ones spread by 0.29."""

_AGAINST, _MANY = 0.2, 256
"""How little places must go with a layout to contradict it, where the shape suggests it, and of how many elements."""

_ASIDE = 0.3
"""How far from the middle of the image all elements must look to look aside."""

_AGREEMENT = 0.7
"""With what correlation two halves of the channels agree on those places."""

_FEW = 16
"""Of so many elements, a place that lies elsewhere counts double: few agree by chance."""


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

    @cached_property
    def looked(self) -> Floats:
        """Where elements look, by axis of the image, from 0 to 1: (axes, elements)."""
        return self._by(slice(None))

    def _by(self, halves: slice) -> Floats:
        """Where they look by some of the two halves of the channels."""
        energy, moments = self.energy[halves].sum(0), self.moments[:, halves].sum(1)
        places: Floats = np.divide(moments, energy, out=np.zeros_like(moments), where=energy > 0)
        return places.reshape(len(moments), -1)

    @cached_property
    def weights(self) -> Floats:
        """How much an element counts: one that hardly answers says little, and one that answers most says no more."""
        energy: Floats = self.energy.sum(0).ravel()
        answering = energy[energy > 0]
        counts: Floats = energy / (energy + np.median(answering)) if answering.size else energy
        return counts

    @property
    def single(self) -> bool:
        """Whether there is one channel only, which has no other to agree with."""
        return not self.energy[1].any()

    @property
    def is_vector(self) -> bool:
        """Whether there is one channel only of one row of elements: those of a pooled vector are channels instead."""
        return self.single and sum(len(indices) > 1 for indices in self.indices) <= 1

    @cached_property
    def differ(self) -> tuple[bool, ...]:
        """By axis of the image, whether elements seem to look at different places along it."""
        weights = self.weights
        if not weights.any():
            return (False,) * len(self.moments)
        return tuple(_spread(places, weights) > _SPREAD for places in self.looked)

    @cached_property
    def tell(self) -> tuple[bool, ...]:
        """The same, where chance is out of the question: there are many elements, and channels agree."""
        if np.count_nonzero(self.weights) < _FEW:
            return (False,) * len(self.moments)
        halves = zip(self.differ, self._by(slice(0, 1)), self._by(slice(1, 2)), strict=True)
        return tuple(
            differ and (self.single or correlation(first, second, self.weights) > _AGREEMENT)
            for differ, first, second in halves
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
        by_axis, count = self._agreements(layout)
        differ = self.places[layout.channel_axis].differ if count else ()
        sides = [i for i, side in enumerate(layout.grid) if side > 1 or self._tells(i)]
        found = [by_axis[i] if i in by_axis and differ[i] else 0.0 for i in sides]
        if not count or self._looks_aside(layout):
            return 0.0
        return 1 - (1 - min(found, default=0.0)) * (1 + _FEW / count)

    def supports(self, layout: Layout) -> bool:
        """Whether what elements look at goes a little with a layout, even if they all look at much of the image."""
        by_axis, count = self._agreements(layout)
        return count >= _FEW and min(by_axis.values(), default=0.0) >= _AGAINST

    def contradicts(self, layout: Layout, known: frozenset[tuple[int, ...]] = frozenset()) -> bool:
        """Whether elements look at different places, and those are not where a layout has them.

        Args:
            layout: it.
            known: grids that other layers have.
        """
        by_axis, count = self._agreements(layout)
        if not count:
            return False
        places = self.places[layout.channel_axis]
        if self._looks_aside(layout):
            return True
        if min((x for i, x in by_axis.items() if places.differ[i]), default=1.0) >= _AGAINST:
            return False
        # Behind many layers what elements look at may be lost in noise, on which channels do not agree; a grid that
        # other layers have is then believed all the same. Of a signal no shape speaks for one of the axes.
        many = _FEW if len(layout.grid) == 1 else _MANY
        return any(places.tell) or (count >= many and layout.grid not in known)

    def _looks_aside(self, layout: Layout) -> bool:
        """Whether a layout has one cell along an axis for what looks at one end of it, as at one frame of a video."""
        places = self.places[layout.channel_axis]
        share = places.weights / places.weights.sum()
        aside = [abs(share @ looked - 0.5) > _ASIDE for looked in places.looked]
        return not places.single and any(aside[i] for i, side in enumerate(layout.grid) if side == 1)

    def _agreements(self, layout: Layout) -> tuple[dict[int, float], int]:
        """By axis of more than one cell, how the places that elements look at go with a layout; and of how many."""
        axis = layout.channel_axis
        places = self.places.get(axis)
        if places is None:
            return {}, 0
        rest = tuple(1 if i == axis else side for i, side in enumerate(self.shape))
        source = layout.fold(np.arange(math.prod(rest)).reshape(rest), np)
        cells = np.full(math.prod(rest), -1)
        cells[source.ravel()] = np.arange(source.size)
        sampled = cells[numbered(places.indices, tuple(side for i, side in enumerate(self.shape) if i != axis))]
        seen = sampled >= 0
        weights = places.weights[seen]
        if not weights.any():
            return {}, 0
        laid, looked = np.unravel_index(sampled[seen], layout.grid), places.looked[:, seen]
        sides = [(i, side) for i, side in enumerate(layout.grid) if side > 1]
        return {i: agreement(looked[i], (laid[i] + 0.5) / side, weights) for i, side in sides}, len(weights)

    def _tells(self, axis: int) -> bool:
        """Whether elements look at different places along one axis of the image, whichever axis holds channels."""
        return any(places.tell[axis] for places in self.places.values())

    @property
    def reached(self) -> bool:
        """Whether anything of the image comes to it."""
        return any(places.energy.any() for places in self.places.values())

    def tells(self, how_many: Callable[[Iterable[bool]], bool]) -> bool:
        """Whether elements look at different places along any axis, or all axes, of the image."""
        return any(how_many(places.tell) for places in self.places.values() if not places.is_vector)


def numbered(indices: Sequence[NDArray[np.intp]], shape: tuple[int, ...]) -> NDArray[np.intp]:
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
