"""Which of several ways gives what a function gives, by trying them on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.imaging import Placement, Preprocess
from gradsight.models.following.pictures import ROUNDING, SIDES, Gap, gap, smooth
from gradsight.models.following.ways import Colours, Run

_FILTERS = ("bilinear", "bicubic", "lanczos", "box", "nearest")

_OTHER = 1000.0
"""What a result of another size counts, in grey levels: more than any of the right size."""


class Tried(NamedTuple):
    """A way that was tried, and how far it is off on the picture where it is worst."""

    way: Preprocess
    worst: Gap
    sides: tuple[int, int]


class Trial:
    """What a function makes of pictures, each of them run once, and how far ways are off from that."""

    def __init__(self, run: Run, colours: Colours, sides: Iterable[tuple[int, int]] = SIDES) -> None:
        self._level = colours.level
        self._pictures = {each: smooth(each) for each in sides}
        self._made = {each: run(picture) for each, picture in self._pictures.items()}

    def of(self, way: Preprocess) -> Tried:
        """Try one way on all the pictures."""
        gaps = [(gap(self._made[each], *self._placed(way, each), self._level), each) for each in self._made]
        # A gap that is not near counts more than any number of grey levels: sharp edges differ much by another filter.
        worst, where = max(gaps, key=lambda pair: (not pair[0].same, not pair[0].near, pair[0].grey))
        return Tried(way, worst, where)

    def same(self, way: Preprocess) -> bool:
        """Whether a way gives the function's own pixels, to one grey level, on all the pictures."""
        return all(
            self._off(way, each, 1, np.max) <= ROUNDING
            for each in self._made  # most ways fail at the first
        )

    def best(self, ways: Iterable[Preprocess]) -> Tried | None:
        """The best of the ways, by any filter; None where there are none.

        The small pictures leave few of the ways, all of them two, of which the filter is found.
        """
        few = self._nearest(ways, list(self._made)[:2], 6)
        two = self._nearest(few, list(self._made), 2)
        filtered = [replace(way, interpolation=name) for way in two for name in _FILTERS]
        return next((self.of(way) for way in self._nearest(filtered, list(self._made)[2:5], 1)), None)

    def _nearest(self, ways: Iterable[Preprocess], sides: Sequence[tuple[int, int]], count: int) -> list[Preprocess]:
        """The ways that are off least, in the mean."""
        off = {way: sum(self._off(way, each, 3, np.mean) for each in sides) for way in ways}
        return sorted(off, key=lambda way: off[way])[:count]

    def _off(self, way: Preprocess, sides: tuple[int, int], step: int, by: Callable[[Any], Any]) -> float:
        """How far a way is off on one picture, in grey levels: the mean or the maximum of every ``step``-th pixel."""
        made, wanted = self._made[sides], self._placed(way, sides)[0]
        if made.shape != wanted.shape:
            return _OTHER
        return float(by(np.abs((made - wanted)[::step, ::step] / self._level)))

    def _placed(self, way: Preprocess, sides: tuple[int, int]) -> tuple[NDArray[np.float32], Placement]:
        return way.laid_out(True).place(self._pictures[sides])
