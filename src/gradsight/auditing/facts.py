"""What the maps of each class say: where they lie, how scattered they are, how they differ; and what was confused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.heat import border_share, centre_share, corner_shares, scatter
from gradsight.auditing.seen import UNKNOWN, Seen

Map = NDArray[np.float64]
"""(rows, columns): shares of heat, 1 in all."""

_CORNERS = ("the upper left corner", "the upper right corner", "the lower left corner", "the lower right corner")

_SURE = 0.8
"""An error is confident from this probability on."""

_NAMED = 50
"""So many confident errors are told."""

NOWHERE = "no one place"
"""Where heat is that has no place."""

_MOST = 0.5
"""A place with so much of the heat has most of it."""


@dataclass(frozen=True, eq=False)
class Look:
    """Where the maps of some photos lie.

    Attributes:
        target: the class that the maps are of.
        truth: the class that the photos belong to; None of all of them.
        photos: how many.
        mean: the mean of their shares of heat.
        centre: the share of their heat in the middle half of each side; 0.25 of heat that is even.
        border: the share in the outer tenth of each side; 0.36 of heat that is even.
        corners: the share in each corner, a quarter of each side; 0.06 of heat that is even.
        scatter: how scattered a map is, on average: 0 where one cell has all heat, 1 where it is even.
        apart: how far the mean is from that of all other photos, as the share of heat that lies elsewhere, in [0, 1].
    """

    target: int
    truth: int | None
    photos: int
    mean: Map
    centre: float
    border: float
    corners: tuple[float, float, float, float]
    scatter: float
    apart: float

    @property
    def place(self) -> str:
        """Where most of their heat is, in words."""
        # A corner before the border, of which it is part, and the border before the middle.
        strongest = int(np.argmax(self.corners))
        if self.corners[strongest] >= _MOST:
            return _CORNERS[strongest]
        if self.border >= _MOST:
            return "the border"
        return "the middle" if self.centre >= _MOST else NOWHERE


def at(place: str) -> str:
    """A `Look.place` as it stands in a sentence.

    >>> at("the border"), at("no one place")
    ('at the border', 'in no one place')
    """
    return f"{'at' if place == 'the border' else 'in'} {place}"


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often photos of each class were taken for each class.

    Attributes:
        classes: the classes that occur, by index.
        counts: (true classes, predictions).
    """

    classes: tuple[int, ...]
    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of photos that were taken for what they are."""
        return float(np.trace(self.counts) / max(1, self.counts.sum()))

    @property
    def pairs(self) -> list[tuple[int, int, int]]:
        """(true class, prediction, photos) of what was confused, the most first."""
        # What is on the diagonal was not confused.
        rows, columns = np.nonzero(self.counts - np.diag(np.diag(self.counts)))
        found = [(self.classes[i], self.classes[j], int(self.counts[i, j])) for i, j in zip(rows, columns, strict=True)]
        return sorted(found, key=lambda pair: -pair[2])


@dataclass(frozen=True)
class Mistake:
    """A photo that was taken for another class with confidence.

    Attributes:
        key: what it is called.
        label: what it is.
        prediction: what it was taken for.
        probability: how probable that was.
        row: of what was seen.
    """

    key: str
    label: int
    prediction: int
    probability: float
    row: int


def looks(seen: Seen) -> tuple[Look, ...]:
    """Where the maps of each class lie, and of each pair of class and true class that has enough photos."""
    found = []
    # Sums once, from which the mean of all but a class is had without a second look at the maps.
    total, hot = seen.heat.sum(axis=0, dtype=np.float64), int(seen.heat.any(axis=(1, 2)).sum())
    for target, rows in seen.of.items():
        if not len(rows):
            continue
        found.append(_look(seen, rows, (target, None), total, hot))
        truths = np.unique(seen.labels[rows])
        for truth in truths[truths != UNKNOWN]:
            found.append(_look(seen, rows[seen.labels[rows] == truth], (target, int(truth)), total, hot))
    return tuple(found)


def look_of(seen: Seen, rows: NDArray[np.intp], target: int) -> Look:
    """Where the maps of some photos of a class lie."""
    return _look(seen, rows, (target, None), seen.heat.sum(axis=0, dtype=np.float64), len(seen))


def _look(seen: Seen, rows: NDArray[np.intp], which: tuple[int, int | None], total: Map, hot: int) -> Look:
    heat = seen.heat[rows]
    sums = heat.sum(axis=0, dtype=np.float64)
    mean = sums / len(rows)
    rest = (total - sums) / (hot - len(rows)) if hot > len(rows) else mean
    corners = corner_shares(heat).mean(axis=0)
    return Look(
        target=which[0],
        truth=which[1],
        photos=len(rows),
        mean=mean,
        centre=float(centre_share(heat).mean()),
        border=float(border_share(heat).mean()),
        corners=(float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3])),
        scatter=float(np.nanmean(scatter(heat))),
        apart=float(np.abs(mean - rest).sum() / 2),
    )


def confusion(seen: Seen) -> Confusion | None:
    """How often classes were confused; None where no photo has a known class."""
    # By the model's best class, whatever class the map is of.
    known = seen.labels != UNKNOWN
    if not known.any():
        return None
    truths, guesses = seen.labels[known], seen.predictions[known]
    classes = np.unique(np.concatenate([truths, guesses]))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (np.searchsorted(classes, truths), np.searchsorted(classes, guesses)), 1)
    return Confusion(tuple(map(int, classes)), counts)


def mistakes(seen: Seen) -> tuple[Mistake, ...]:
    """The confident errors, the most confident first."""
    # A photo without a known class cannot be wrong.
    wrong = (seen.labels != UNKNOWN) & (seen.labels != seen.predictions) & (seen.probabilities >= _SURE)
    rows = np.flatnonzero(wrong)
    order = rows[np.argsort(-seen.probabilities[rows], kind="stable")][:_NAMED]
    return tuple(
        Mistake(seen.keys[row], int(seen.labels[row]), int(seen.predictions[row]), float(seen.probabilities[row]), row)
        for row in map(int, order)
    )
