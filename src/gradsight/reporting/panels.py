"""What a report says of each class, and the table of what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradsight.auditing.facts import Confusion, Look, at, confusion, looks
from gradsight.auditing.finding import Finding
from gradsight.auditing.seen import UNKNOWN, Seen
from gradsight.auditing.words import EVEN, photos
from gradsight.reporting.choosing import EXAMPLES
from gradsight.reporting.listing import RIGHT, WRONG, class_id
from gradsight.reporting.pictures import heat_of
from gradsight.reporting.views import Photo

CLASSES = 60
"""So many classes have a panel, those with most photos."""

MATRIX = 24
"""So many classes are in the table, those that are confused most: a larger one nobody reads."""

_SHADES = 5

_FEW = 5
"""Of fewer photos of a pair of classes nothing is told."""


@dataclass(frozen=True)
class Panel:
    """What is known of a class.

    Attributes:
        label: its name.
        taken: `class_id` of it.
        sentences: where it looks, and how often it is right, in words.
        mean: the mean map as a picture, and its alternative text.
        pairs: where it looks in photos of each class that were taken for it, in words.
        right: photos that were taken for it, and are.
        wrong: photos that were taken for it, and are not.
        others: photos that were taken for it, of which nobody knows.
        findings: what was found about it.
    """

    label: str
    taken: str
    sentences: tuple[str, ...]
    mean: tuple[str, str]
    pairs: tuple[str, ...]
    right: tuple[Photo, ...]
    wrong: tuple[Photo, ...]
    others: tuple[Photo, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        guess: what photos were taken for.
        ids: `class_id` of what they are, and of the guess.
        count: how many.
        shade: from 0 to 5, by the share of the class.
        right: they were taken for what they are.
    """

    guess: str
    ids: tuple[str, str]
    count: int
    shade: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """What was taken for what.

    Attributes:
        labels: the classes.
        rows: of each class its cells, one for each class, and how many photos it has.
        left_out: how many classes are not in it.
    """

    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...], int], ...]
    left_out: int


def matrix_of(seen: Seen) -> Matrix | None:
    """The table of a run; None where no photo has a known class."""
    found = confusion(seen)
    if found is None:
        return None
    kept = _most_confused(found)
    labels = [seen.name(found.classes[i]) for i in kept]
    ids = [class_id(found.classes[i], None) for i in kept]
    rows = []
    for place, i in enumerate(kept):
        total = int(found.counts[i].sum())
        cells = tuple(
            Cell(labels[at], (ids[place], ids[at]), int(found.counts[i, j]), _shade(found.counts[i, j], total), i == j)
            for at, j in enumerate(kept)
        )
        rows.append((labels[place], cells, total))
    return Matrix(tuple(labels), tuple(rows), len(found.classes) - len(kept))


def _most_confused(found: Confusion) -> list[int]:
    # A class counts by what it lost and by what it took; those that are right too where all fit.
    wrong = found.counts - np.diag(np.diag(found.counts))
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MATRIX]
    return sorted(map(int, order))


def _shade(count: int, total: int) -> int:
    return int(np.ceil(_SHADES * count / max(1, total)))


def panels_of(seen: Seen, findings: Sequence[Finding], photos: Sequence[Photo]) -> tuple[Panel, ...]:
    """A panel for each class, those with most photos first."""
    found = looks(seen)
    whole = sorted((one for one in found if one.truth is None), key=lambda one: -one.photos)[:CLASSES]
    by_guess: dict[str, list[Photo]] = {}
    # The surest first: they show best what the model takes the class for.
    for photo in sorted(photos, key=lambda one: -(one.entry.probability or 0)):
        by_guess.setdefault(photo.entry.taken, []).append(photo)
    several = sum(one.truth is None for one in found) > 1
    return tuple(
        _panel(seen, look, [one for one in found if one.target == look.target], several, findings, by_guess)
        for look in whole
    )


def _panel(
    seen: Seen,
    look: Look,
    own: Sequence[Look],
    several: bool,
    findings: Sequence[Finding],
    by_guess: dict[str, list[Photo]],
) -> Panel:
    label = seen.name(look.target)
    taken = by_guess.get(class_id(look.target, label), [])
    # Of two or three photos a mean map is no more than these photos.
    pairs = [one for one in own if one.truth not in (None, look.target) and one.photos >= _FEW]
    return Panel(
        label=label,
        taken=class_id(look.target, label),
        sentences=(*_counts(seen, look.target, label), *_looking(look, several=several)),
        mean=(heat_of(look.mean / max(look.mean.max(), 1e-12), signed=False), _mean_told(label, look)),
        pairs=tuple(_pair(seen, label, one) for one in sorted(pairs, key=lambda one: -one.photos)[:EXAMPLES]),
        right=tuple(one for one in taken if one.entry.status == RIGHT)[:EXAMPLES],
        wrong=tuple(one for one in taken if one.entry.status == WRONG)[:EXAMPLES],
        others=tuple(one for one in taken if one.entry.status not in (RIGHT, WRONG))[:EXAMPLES],
        findings=tuple(
            one for one in findings if one.label == label and one.kind in ("suspect", "change", "background")
        ),
    )


def _counts(seen: Seen, target: int, label: str) -> list[str]:
    """How often the class is right, in words."""
    taken, own = seen.predictions == target, seen.labels == target
    known = seen.labels != UNKNOWN
    told = [f"{photos(int(taken.sum()))} {_were(int(taken.sum()))} taken for {label}"]
    if known.any():
        right = int((taken & own).sum())
        told[0] += f": {right} rightly, {int((taken & known & ~own).sum())} wrongly"
        unknown = int((taken & ~known).sum())
        told[0] += f", and of {unknown} nobody said the class" if unknown else ""
        if own.any():
            told.append(f"Of {photos(int(own.sum()))} of {label} {right} {_were(right)} recognised.")
    told[0] += "."
    return told


def _looking(look: Look, *, several: bool) -> list[str]:
    told = [
        f"In {photos(look.photos)} with a map of it most of the heat is {at(look.place)}: {look.centre:.0%} of it in "
        f"the middle quarter of the photo, {look.border:.0%} at the border {EVEN}.",
        f"A map of it is scattered by {look.scatter:.2f}: 0 is one single place, 1 is even heat.",
    ]
    if several:
        told.append(f"{look.apart:.0%} of its mean heat lies elsewhere than that of the other classes.")
    return told


def _pair(seen: Seen, label: str, look: Look) -> str:
    truth = seen.name(look.truth or 0)
    return f"{photos(look.photos)} of {truth} with a map of {label}: most of the heat is {at(look.place)}."


def _mean_told(label: str, look: Look) -> str:
    rows, columns = look.mean.shape
    i, j = np.unravel_index(int(look.mean.argmax()), look.mean.shape)
    down, across = (
        _third((i + 0.5) / rows, ("upper", "middle", "lower")),
        _third((j + 0.5) / columns, ("left", "", "right")),
    )
    where = " ".join(filter(None, (down, across)))
    return f"The mean of {look.photos} maps of {label}: hottest in the {where} part of what the model gets."


def _third(place: float, words: tuple[str, str, str]) -> str:
    return words[min(2, int(3 * place))]


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
