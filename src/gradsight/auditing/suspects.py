"""Suspects: places or things that a class's maps share, what came of trying them out, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.places import Box, at_border, overlap
from gradsight.significance import Interval

STANDS_OUT = 2.5
"""The region's effect is so many times that of three quarters of the others of its size. In clean data the best region
of a class has about twice the effect of others; planted marks had 4 to 200 times (`benchmarks/audit_trials.py`)."""

LARGEST = 0.15
"""No larger region is confirmed: what fills the photo is what the photo shows."""

CHANCE = 0.05
"""What chance does as often, of all that was tried, is not confirmed."""

LEAST = 0.01
"""By so much the probability rises at least: less changes no answer, however sure it is."""

LEAST_OF_PLACE = 0.05
"""By so much where the pixels there differ: the upper edge of a street often shows a sky, which says a little."""

ALIKE = 0.5
"""Pixels that vary by half as much as at the same place in other classes are similar."""

SAME = 0.8
"""Those that vary by a fifth are nearly the same."""


@dataclass(frozen=True, eq=False)
class Suspect:
    """A place that a class's maps share, or a thing that its photos share, and what came of trying it out.

    Attributes:
        target: the class.
        rows: the photos that look there, as rows of what was seen, those with most heat there first.
        whole: they are all photos of the class.
        box: the place, as shares of what the model gets; of a thing that moves, all of its places.
        size: the share of a photo that the region covers.
        moving: it is at another place in each photo.
        score: how far the heat there is from that of groups drawn without regard to classes, in their standard
            deviations.
        p: how often such a group has as much.
        removal: by how much the class's probability falls without the region.
        transplant: by how much more it rises, in photos of other classes, by this region of its photos than by the
            same region of others.
        removal_beyond: the fall of its log-odds beyond that without other regions of the size.
        transplant_beyond: the rise of its log-odds beyond that by other regions of the size.
        times: how many times the rise of log-odds by other regions of the size, of which a quarter do more.
        alike: how much less the pixels there vary over the photos than over those of other classes: 1 where they are
            the same, 0 where they vary as much, down to -1 where they vary and others do not.
        chance: how often chance alone has such effects, both of them, corrected for all that was tried (Holm).
        covers: a class whose own shortcut lies there, where this one is raised only since that is covered; else None.
    """

    target: int
    rows: NDArray[np.intp]
    whole: bool
    box: Box
    size: float
    moving: bool
    score: float
    p: float
    removal: Interval
    transplant: Interval
    removal_beyond: Interval
    transplant_beyond: Interval
    times: float
    alike: float
    chance: float = 0.0
    covers: int | None = None

    @property
    def why_not(self) -> tuple[str, ...]:
        """What speaks against a shortcut, in words; nothing where it is confirmed."""
        # Of each kind the first: what takes nothing from the class takes no more than other places either.
        found = (next((words for words, holds in kind if holds), "") for kind in self._against())
        return tuple(words for words in found if words)

    @property
    def confirmed(self) -> bool:
        """Taking the region out and putting it in both change the answer, as no other place of the class does."""
        return not self.why_not

    def _against(self) -> Iterator[tuple[tuple[str, bool], ...]]:
        # `not >`: an interval of too few photos has NaN as ends, and confirms nothing.
        yield (
            ("without it the class's probability does not fall", not self.removal.low > 0),
            (
                "without it the class loses no more than without other regions of its size",
                not self.removal_beyond.low > 0,
            ),
        )
        yield (
            ("in other photos it does not raise the class", not self.transplant.low > 0),
            ("it raises the class too little to change answers", not self.transplant.mean >= self._least),
            ("other regions of its size raise the class as well", not self._stands_out),
            ("of as many places that were tried one does as much by chance", not self.chance <= CHANCE),
            ("it raises the class only where it covers what another class relies on", self.covers is not None),
        )
        yield (
            ("it is so large that it may be what the class is about", self.size > LARGEST),
            (
                "it reaches further in than the outer quarter, and shows something else in each photo, as what the "
                "class is about does",
                not (at_border(self.box) or self.alike >= ALIKE),
            ),
        )

    @property
    def _least(self) -> float:
        return LEAST if self.alike >= ALIKE else LEAST_OF_PLACE

    @property
    def _stands_out(self) -> bool:
        return self.transplant_beyond.low > 0 and self.times >= STANDS_OUT


def in_order(found: Sequence[Suspect]) -> list[Suspect]:
    """Each suspect once: confirmed ones first, of these such with the same pixels, then by what they change."""
    kept: list[Suspect] = []
    # The pixels of a thing say where it ends; a place around all that it may be at changes more, and says less.
    for one in sorted(found, key=lambda one: (not one.confirmed, one.alike < ALIKE, -_strength(one))):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _strength(one: Suspect) -> float:
    # By the lower end: a large effect in few photos may be chance.
    low = one.transplant.low
    return float(low) if np.isfinite(low) else -1.0


def _same(one: Suspect, other: Suspect) -> bool:
    return one.target == other.target and overlap(one.box, other.box) >= 0.5
