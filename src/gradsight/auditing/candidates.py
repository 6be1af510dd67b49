"""Places that the maps of a class share, apart from other classes: what may be a shortcut, before anything is tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.heat import Heat
from gradsight.auditing.places import Box, hot_boxes
from gradsight.auditing.seen import Seen
from gradsight.auditing.spectral import clusters, joined

_MOST = 200
"""So many photos of a class are clustered, drawn by the seed: the price grows with the cube of their number."""

_NULLS = 99
"""Groups drawn without regard to classes: p is 0.01 at the least."""

LEVEL = 0.05
"""Groups that chance makes as strong more often than this are not tried."""

_SPREAD = 0.1
"""Of few photos the drawn groups are nearly the same, and hardly spread at all."""

FEWEST = 6
"""A group of fewer photos is none: no interval could be had of it."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A group of photos of a class that look at one place.

    Attributes:
        target: the class.
        rows: the photos, as rows of what was seen.
        whole: they are all of the class, and no part of it.
        apart: they look there more than other classes do; else more than at other places, whatever the others do.
        excess: (rows, columns) how much more of the heat they have in each cell than photos of other classes have, or
            than heat that is even.
        boxes: where that is hot, the hottest area first.
        strength: the largest excess, in shares of heat that is even.
        score: how far that is from groups drawn without regard to classes, in their standard deviations.
        p: how often such a group is as strong.
    """

    target: int
    rows: NDArray[np.intp]
    whole: bool
    apart: bool
    excess: NDArray[np.float64]
    boxes: tuple[Box, ...]
    strength: float
    score: float
    p: float


def candidates(seen: Seen, seed: int = 0) -> list[Candidate]:
    """The groups of all classes, those that stand out most first."""
    found = []
    for target, rows in seen.of.items():
        rest = np.setdiff1d(np.flatnonzero(seen.heat.any(axis=(1, 2))), rows)
        if len(rows) < FEWEST or len(rest) < FEWEST:
            continue
        null = _Null.of(seen, rows, rest, seed)
        mean = _mean(seen.heat, rest)
        # A shortcut may be in part of a class only: a mark of one of several cameras.
        groups = [rows, *_clusters(seen, rows, seed)]
        found += [_candidate(seen, target, group, len(rows), mean, null) for group in groups]
        # Of two classes each looks where the other's mark is, or is not: beside the other neither stands out there.
        found.append(_by_itself(seen, target, rows, seed))
    return sorted(found, key=lambda one: (one.p, -one.score))


@dataclass(frozen=True, eq=False)
class _Null:
    """The strengths of groups that chance and clustering alone give.

    Attributes:
        drawn: of photos whose classes are drawn, as many as the class has.
        clustered: of the strongest cluster of as many photos of other classes. Of all classes it would be of no use: a
            cluster of photos with a mark is the same whichever photos are beside them.
    """

    drawn: NDArray[np.float64]
    clustered: NDArray[np.float64]

    @classmethod
    def of(cls, seen: Seen, rows: NDArray[np.intp], rest: NDArray[np.intp], seed: int) -> _Null:
        rng = np.random.default_rng((seed, len(rows)))
        # As many draws for both: p is a count of them.
        every = np.concatenate([rows, rest])
        drawn, clustered = [], []
        for _ in range(_NULLS):
            some = rng.permutation(every)
            one, other = some[: len(rows)], some[len(rows) :]
            drawn.append(strength_of(_mean(seen.heat, one) - _mean(seen.heat, other)))
        mean = _mean(seen.heat, rest)
        for turn in range(_NULLS):
            some = np.sort(rng.choice(rest, min(len(rows), len(rest), _MOST), replace=False))
            groups = [some, *_clusters(seen, some, seed + turn)]
            clustered.append(max(strength_of(_mean(seen.heat, group) - mean) for group in groups))
        return cls(np.array(drawn), np.array(clustered))


def _clusters(seen: Seen, rows: NDArray[np.intp], seed: int) -> Iterator[NDArray[np.intp]]:
    """The clusters of the photos of a class, of which none is nearly all of them."""
    drawn = _drawn(rows, np.random.default_rng((seed, len(rows))))
    heat = seen.heat[drawn].reshape(len(drawn), -1)
    features = None if seen.features is None else seen.features[drawn]
    numbers = clusters(joined(heat, features), seed=seed)
    for number in np.unique(numbers):
        group = drawn[numbers == number]
        # Nearly all of a class are the class itself, which is a candidate already.
        if FEWEST <= len(group) < 0.9 * len(drawn):
            yield group


def _drawn(rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= _MOST else np.sort(rng.choice(rows, _MOST, replace=False))


def _candidate(
    seen: Seen, target: int, rows: NDArray[np.intp], size: int, rest: NDArray[np.float64], null: _Null
) -> Candidate:
    """A class, or a cluster of its photos, beside other classes."""
    whole = len(rows) == size
    chance = null.drawn if whole else null.clustered
    return _beside(chance, _mean(seen.heat, rows) - rest, target=target, rows=rows, whole=whole, apart=True)


def _by_itself(seen: Seen, target: int, rows: NDArray[np.intp], seed: int) -> Candidate:
    """A class that looks at one place, whatever the others do: beside its own maps, each moved at random."""
    rng = np.random.default_rng((seed, len(rows)))
    heat = seen.heat[_drawn(rows, rng)].astype(np.float64)
    even = 1 / heat[0].size
    chance = np.array([strength_of(_moved(heat, rng).mean(axis=0) - even) for _ in range(_NULLS)])
    return _beside(chance, _mean(seen.heat, rows) - even, target=target, rows=rows, whole=True, apart=False)


def _beside(chance: NDArray[np.float64], excess: NDArray[np.float64], **group: Unpack[_Group]) -> Candidate:
    """A group of photos with what it has more, beside the strengths that chance gives."""
    strength = strength_of(excess)
    return Candidate(
        **group,
        excess=excess,
        boxes=tuple(hot_boxes(excess)),
        strength=strength,
        score=(strength - float(chance.mean())) / max(float(chance.std()), _SPREAD),
        p=(1 + int((chance >= strength).sum())) / (1 + len(chance)),
    )


class _Group(TypedDict):
    """The fields of a `Candidate` that say which photos it is of."""

    target: int
    rows: NDArray[np.intp]
    whole: bool
    apart: bool


def _moved(heat: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Maps, each moved at random, around the edges."""
    n, height, width = heat.shape
    rows = (np.arange(height) + rng.integers(height, size=(n, 1)))[:, :, None] % height
    columns = (np.arange(width) + rng.integers(width, size=(n, 1)))[:, None] % width
    return np.asarray(heat[np.arange(n)[:, None, None], rows, columns])


def strength_of(excess: NDArray[np.float64]) -> float:
    """The largest excess of a map of shares, in shares of heat that is even: 1 is as much as all cells have."""
    return float(excess.max() * excess.size)


def _mean(heat: Heat, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.asarray(heat[rows].mean(axis=0, dtype=np.float64))
