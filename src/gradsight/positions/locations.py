"""Which part of the image elements of an output depend on, and how well that agrees with a layout."""

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
"""Locations differ if their standard deviation is at least this; evenly spread ones have 0.29."""

_AGAINST, _MANY = 0.2, 256
"""A layout that the shape suggests is contradicted by a correlation below the first, of at least so many elements."""

_ASIDE = 0.3
"""Elements lie at one end of the image if their mean location is this far from the middle."""

_AGREEMENT = 0.7
"""Two halves of the channels agree on the locations if they correlate more than this."""

_FEW = 16
"""With so many elements a disagreement counts double, since a few agree by chance."""

_MOST_COUNTED, _ALMOST = 256, 0.999
"""More elements tell no more, since neighbours err alike; and a correlation counts no more than the second."""


@dataclass(frozen=True)
class Locations:
    """Where in the image elements of an output have their locations, if one of its axes holds channels.

    Attributes:
        indices: of each other axis, those that were sampled.
        energy: how strongly elements react to noise, for two halves of the channels: (2, ...).
        moments: the same times the location, by axis of the image: (axes, 2, ...).
    """

    indices: tuple[NDArray[np.intp], ...]
    energy: Floats
    moments: Floats

    @cached_property
    def centres(self) -> Floats:
        """The locations of elements, by axis of the image, from 0 to 1: (axes, elements)."""
        return self._by(slice(None))

    def _by(self, halves: slice) -> Floats:
        """The locations by one of the two halves of the channels, or by both."""
        # The centre of gravity of what an element reacts to.
        energy, moments = self.energy[halves].sum(0), self.moments[:, halves].sum(1)
        locations: Floats = np.divide(moments, energy, out=np.zeros_like(moments), where=energy > 0)
        return locations.reshape(len(moments), -1)

    @cached_property
    def weights(self) -> Floats:
        """How much an element counts: little if it hardly reacts, and never much more than the median one."""
        energy: Floats = self.energy.sum(0).ravel()
        # Against the median, so that a few very strong elements do not decide alone.
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
        """By axis of the image, whether elements seem to have different locations along it."""
        weights = self.weights
        if not weights.any():
            return (False,) * len(self.moments)
        return tuple(_spread(locations, weights) > _SPREAD for locations in self.centres)

    @cached_property
    def tell(self) -> tuple[bool, ...]:
        """The same, where chance is out of the question: there are many elements, and channels agree."""
        if np.count_nonzero(self.weights) < _FEW:
            return (False,) * len(self.moments)
        # Noise moves the locations of each half of the channels in its own way; a true location is the same in both.
        halves = zip(self.differ, self._by(slice(0, 1)), self._by(slice(1, 2)), strict=True)
        return tuple(
            differ and (self.single or correlation(first, second, self.weights) > _AGREEMENT)
            for differ, first, second in halves
        )


class Call(NamedTuple):
    """One call of one module in the trial.

    Attributes:
        shape: of its output for one image.
        locations: by the axis that could hold channels.
    """

    shape: tuple[int, ...]
    locations: Mapping[int, Locations]

    def evidence(self, layout: Layout) -> float:
        """How well the positions that a layout gives to elements agree with their locations, from -1 to 1."""
        by_axis, count = self._agreements(layout)
        # An axis along which elements do not differ gives no evidence, however well it correlates.
        differ = self.locations[layout.channel_axis].differ if count else ()
        sides = [i for i, side in enumerate(layout.grid) if side > 1 or self._tells(i)]
        agreements = [by_axis[i] if i in by_axis and differ[i] else 0.0 for i in sides]
        if not count or self._lies_at_one_end(layout):
            return 0.0
        # The weakest axis decides. Few elements agree by chance, so what is missing to 1 counts up to double.
        return 1 - (1 - min(agreements, default=0.0)) * (1 + _FEW / count)

    def favours(self, one: Layout, other: Layout) -> float:
        """How much likelier the locations are by one layout than by another: the logarithm of the ratio.

        A location is taken to be its position, up to a shift and a scale, and normal noise: n elements whose locations
        correlate by r have then the likelihood (1 - r²) ** (-n / 2) along an axis. One cell explains nothing.
        """
        gains, counts = [], []
        for layout in (one, other):
            by_axis, count = self._agreements(layout)
            gains.append(sum(-0.5 * math.log1p(-(min(max(x, 0.0), _ALMOST) ** 2)) for x in by_axis.values()))
            counts.append(count)
        return (gains[0] - gains[1]) * min(*counts, _MOST_COUNTED)

    def supports(self, layout: Layout) -> bool:
        """Whether locations agree a little with a layout, even if every element depends on much of the image."""
        by_axis, count = self._agreements(layout)
        return count >= _FEW and min(by_axis.values(), default=0.0) >= _AGAINST

    def contradicts(self, layout: Layout, known: frozenset[tuple[int, ...]] = frozenset()) -> bool:
        """Whether elements have different locations that disagree with a layout.

        Args:
            layout: the layout.
            known: grids that other layers have.
        """
        by_axis, count = self._agreements(layout)
        if not count:
            return False
        locations = self.locations[layout.channel_axis]
        if self._lies_at_one_end(layout):
            return True
        if min((x for i, x in by_axis.items() if locations.differ[i]), default=1.0) >= _AGAINST:
            return False
        # Behind many layers the locations may be lost in noise, on which the channels do not agree. A grid that other
        # layers have is taken all the same. A signal needs fewer elements: its shape says nothing about its axes.
        many = _FEW if len(layout.grid) == 1 else _MANY
        return any(locations.tell) or (count >= many and layout.grid not in known)

    def _lies_at_one_end(self, layout: Layout) -> bool:
        """Whether the elements lie at one end of an axis that is one cell in a layout, as in one frame of a video."""
        locations = self.locations[layout.channel_axis]
        share = locations.weights / locations.weights.sum()
        aside = [abs(share @ centres - 0.5) > _ASIDE for centres in locations.centres]
        return not locations.single and any(aside[i] for i, side in enumerate(layout.grid) if side == 1)

    def _agreements(self, layout: Layout) -> tuple[dict[int, float], int]:
        """By axis of more than one cell, how well locations agree with a layout; and the number of elements."""
        axis = layout.channel_axis
        locations = self.locations.get(axis)
        if locations is None:
            return {}, 0
        rest = tuple(1 if i == axis else side for i, side in enumerate(self.shape))
        # Numbers in place of values show which element the layout puts into which cell.
        source = layout.fold(np.arange(math.prod(rest)).reshape(rest), np)
        cells = np.full(math.prod(rest), -1)
        cells[source.ravel()] = np.arange(source.size)
        sampled = cells[numbered(locations.indices, tuple(side for i, side in enumerate(self.shape) if i != axis))]
        seen = sampled >= 0
        weights = locations.weights[seen]
        if not weights.any():
            return {}, 0
        laid, centres = np.unravel_index(sampled[seen], layout.grid), locations.centres[:, seen]
        sides = [(i, side) for i, side in enumerate(layout.grid) if side > 1]
        return {i: agreement(centres[i], (laid[i] + 0.5) / side, weights) for i, side in sides}, len(weights)

    def _tells(self, axis: int) -> bool:
        """Whether elements have different locations along one axis of the image, whichever axis holds channels."""
        return any(locations.tell[axis] for locations in self.locations.values())

    @property
    def reached(self) -> bool:
        """Whether its output depends on the image at all."""
        return any(locations.energy.any() for locations in self.locations.values())

    def tells(self, how_many: Callable[[Iterable[bool]], bool]) -> bool:
        """Whether elements have different locations along any axis (or all axes) of the image."""
        return any(how_many(locations.tell) for locations in self.locations.values() if not locations.is_vector)


def numbered(indices: Sequence[NDArray[np.intp]], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The elements that were sampled, numbered over all axes."""
    return np.ravel_multi_index(np.meshgrid(*indices, indexing="ij"), shape).ravel()


def correlation(a: Floats, b: Floats, weights: Floats) -> float:
    """The weighted correlation of two rows of numbers; 0 where one of them does not vary."""
    share = weights / weights.sum()
    a, b = a - share @ a, b - share @ b
    scale = math.sqrt((share @ a**2) * (share @ b**2))
    return float(share @ (a * b)) / scale if scale > 1e-12 else 0.0


def agreement(centres: Floats, laid: Floats, weights: Floats) -> float:
    """How well locations agree with the positions of a layout: their correlation, less for a shift between the two."""
    share = weights / weights.sum()
    # A layout that is right in order may still begin at the wrong token: then all locations are shifted.
    shift, spread = share @ (centres - laid), _spread(laid, weights)
    return correlation(centres, laid, weights) - float(shift / spread) ** 2 if spread > 0 else 0.0


def _spread(values: Floats, weights: Floats) -> float:
    share = weights / weights.sum()
    return math.sqrt(share @ (values - share @ values) ** 2)
