"""A run to browse: which photos fit a filter, what is known of each, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.auditing.candidates import LEVEL, candidates
from gradsight.auditing.of_run import seen_of_run
from gradsight.auditing.seen import Seen
from gradsight.auditing.spectral import clusters, joined, spread
from gradsight.checks import taken
from gradsight.errors import GradsightError, unknown
from gradsight.locks import Lock
from gradsight.results import wording
from gradsight.results.explanation import Explanation
from gradsight.results.explanations import each_of
from gradsight.results.wording import share
from gradsight.rules import Flag, Number, Text
from gradsight.runs.opened import Run
from gradsight.runs.schema import EXPLAINED

_COLUMNS = ("key", "status", "label", "label_index", "prediction", "prediction_label", "probability")

_THUMBNAIL = 240
"""Of a picture in the gallery, in pixels."""

MOST_ON_MAP = 1500
"""So many photos are laid out on the map, evenly over the run: the price grows with the cube of their number."""


@dataclass(frozen=True)
class Filter:
    """Which photos of a run are looked at.

    Attributes:
        label: the class that the photo belongs to, or that the model finds; empty for any.
        wrong: only those whose best class is another one than they belong to.
        low: the least probability of the best class.
        high: the largest.
        suspect: a group of `Shelf.suspects`, by its number; None for any.
        group: a group on the map, by its number; None for any.
    """

    label: str = ""
    wrong: bool = False
    low: float = 0.0
    high: float = 1.0
    suspect: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            taken(name, getattr(self, name), Number(0, 1), "Pass 0.5.")
        taken("label", self.label, Text(), "Pass '' for any.")
        taken("wrong", self.wrong, Flag())


@dataclass(frozen=True)
class Card:
    """A photo of the run, in words.

    Attributes:
        key: what it is called.
        label: the class that it belongs to; empty where nobody said.
        prediction: the model's best class.
        probability: of that.
        wrong: they differ.
    """

    key: str
    label: str
    prediction: str
    probability: float
    wrong: bool

    @property
    def words(self) -> str:
        """What the model said, and whether it is right."""
        said = f"{self.prediction or 'no class'}, {share(self.probability)}"
        return f"{said}; it is {self.label}" if self.wrong else said


@dataclass(frozen=True, eq=False)
class Suspect:
    """A group of photos of a class whose maps lie at one place.

    Attributes:
        words: of which class, and how many.
        keys: the photos.
    """

    words: str
    keys: frozenset[str]


@dataclass(frozen=True, eq=False)
class RunMap:
    """Photos of a run in a plane, by what they look at.

    Attributes:
        keys: (n) which.
        places: (n, 2) in [0, 1].
        groups: (n,) numbered from 0.
    """

    keys: tuple[str, ...]
    places: NDArray[np.float64]
    groups: NDArray[np.intp]


class Shelf:
    """The photos of a run. Threads may share it.

    Args:
        run: what is browsed.
    """

    def __init__(self, run: Run) -> None:
        self.run, self._lock = run, Lock()
        self.cards = tuple(_cards(run))
        self._by_key = {card.key: card for card in self.cards}

    @property
    def labels(self) -> list[str]:
        """Every class that a photo belongs to or is taken for."""
        return sorted({name for card in self.cards for name in (card.label, card.prediction) if name})

    def chosen(self, where: Filter) -> tuple[Card, ...]:
        """The photos that fit, in the order of the run."""
        keys = self._within(where)
        return tuple(
            card
            for card in self.cards
            if where.low <= card.probability <= where.high
            and (card.wrong or not where.wrong)
            and (not where.label or where.label in (card.label, card.prediction))
            and (keys is None or card.key in keys)
        )

    def card(self, key: str) -> Card:
        """A photo by its key.

        Raises:
            UnknownName: there is none.
        """
        if key not in self._by_key:
            raise unknown("photo of this run", key, list(self._by_key)[:1000])
        return self._by_key[key]

    def picture(self, key: str, side: int = _THUMBNAIL) -> tuple[Image.Image | None, str]:
        """A photo with its first map, and where that is hot; None where it cannot be drawn, and why."""
        try:
            explanation = self._explanation(key)
            words = wording.where(explanation.record().to_dict()["targets"][0], explanation.record().size)
            return explanation.overlay(max_side=side), words
        except GradsightError as error:  # its photo may be gone by now
            return None, str(error)

    def notes(self, key: str) -> tuple[str, ...]:
        """What must be known of the map of a photo."""
        return self._explanation(key).notes

    @cached_property
    def map(self) -> RunMap:
        """Where each photo lies by what it looks at: its heat, and what is under it where the run has features."""
        with self._lock:
            seen = self._seen
            rows = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MOST_ON_MAP)).astype(int))
            heat = seen.heat[rows].reshape(len(rows), -1)
            alike = joined(heat, None if seen.features is None else seen.features[rows])
            return RunMap(tuple(seen.keys[i] for i in rows), spread(alike), clusters(alike, most=8))

    @cached_property
    def suspects(self) -> tuple[Suspect, ...]:
        """Groups of photos that look at one place more than chance makes them, the strongest first.

        They are what `gradsight audit` tests: nothing is confirmed here.
        """
        with self._lock:
            seen = self._seen
            found = [one for one in candidates(seen) if one.p <= LEVEL and one.boxes]
            return tuple(_suspect(seen, one.target, one.rows, one.boxes[0]) for one in found)

    @cached_property
    def _seen(self) -> Seen:
        return seen_of_run(self.run)[0]

    def _within(self, where: Filter) -> frozenset[str] | None:
        found: frozenset[str] | None = None
        if where.suspect is not None:
            found = _numbered(self.suspects, where.suspect, "suspect").keys
        if where.group is not None:
            at = self.map
            group = frozenset(key for key, number in zip(at.keys, at.groups, strict=True) if number == where.group)
            found = group if found is None else found & group
        return found

    def _explanation(self, key: str) -> Explanation:
        with self._lock:  # rows are read from files that one thread opens at a time
            return each_of(self.run[key])[0]


def _numbered(values: Sequence[Suspect], number: int, kind: str) -> Suspect:
    if not 0 <= number < len(values):
        raise unknown(kind, number, map(str, range(len(values))))
    return values[number]


def _suspect(seen: Seen, target: int, rows: NDArray[np.intp], box: tuple[float, float, float, float]) -> Suspect:
    top, left, bottom, right = seen.on_photos(rows, box)
    where = wording.corner((int(500 * (top + bottom)), int(500 * (left + right))), (1000, 1000))
    words = f"{seen.name(target)}: {len(rows)} photos look at the {where}"
    return Suspect(words, frozenset(seen.keys[int(row)] for row in rows))


def _cards(run: Run) -> list[Card]:
    found: dict[str, Card] = {}
    for table in run.tables(_COLUMNS):
        for row in table.to_pylist():
            # Rows of several maps of a photo say the same of it.
            if row["status"] == EXPLAINED and row["key"] not in found:
                found[row["key"]] = _card(row)
    return list(found.values())


def _card(row: dict[str, object]) -> Card:
    known, best = row["label_index"], row["prediction"]
    chance = row["probability"]
    return Card(
        key=str(row["key"]),
        label=str(row["label"] or ""),
        prediction=str(row["prediction_label"] or ""),
        probability=float(chance) if isinstance(chance, float) else 0.0,
        wrong=known is not None and best is not None and known != best,
    )
