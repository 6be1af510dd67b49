"""What a run is about, gone through once without its maps: its photos, what they were taken for, and its notes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gradsight.runs.opened import Run
from gradsight.runs.schema import EXPLAINED, RunRow
from gradsight.runs.table import rows_in

_COLUMNS = (
    "key", "status", "error", "label", "label_index", "prediction", "prediction_label", "probability", "notes",
    "note_texts",
)  # fmt: skip

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
"""What a photo may be: UNKNOWN where nobody said its class, or none of the model's classes is called so."""


@dataclass(frozen=True)
class Entry:
    """A photo of a run, without its maps.

    Attributes:
        label: what it is; empty where nobody said.
        guess: what it was taken for; empty where the model gives no classes.
        probability: of the guess, in [0, 1]; None where there is none.
        status: `RIGHT`, `WRONG` or `UNKNOWN`.
        truth: what tells its class from others: of two classes that are called alike too.
        taken: the same of the guess.
    """

    label: str
    guess: str
    probability: float | None
    status: str
    truth: str
    taken: str


def class_id(index: int | None, label: str | None) -> str:
    """What tells a class from others: its number among the model's, or its name where it is none of them."""
    if index is not None:
        return f"class {index}"
    return f"label {label}" if label else ""


@dataclass(frozen=True, eq=False)
class Listing:
    """The photos of a run.

    Attributes:
        entries: by key, in the order of the run.
        notes: by code and text, of how many maps each is true.
        failed: (key, reason) of the photos that failed.
    """

    entries: dict[str, Entry]
    notes: dict[tuple[str, str], int]
    failed: tuple[tuple[str, str], ...]

    def count(self, status: str) -> int:
        """How many photos are right, wrong or unknown."""
        return sum(one.status == status for one in self.entries.values())

    @property
    def known(self) -> int:
        """How many photos have a class that the model knows."""
        return len(self.entries) - self.count(UNKNOWN)


def listing_of(run: Run) -> Listing:
    """Go through the rows of a run."""
    entries: dict[str, Entry] = {}
    notes: Counter[tuple[str, str]] = Counter()
    failed: dict[str, str] = {}
    for table in run.tables(_COLUMNS):
        for row in rows_in(table):
            if row.status != EXPLAINED:
                failed[row.key] = row.error or "it failed"
                continue
            notes.update(zip(row.notes, row.note_texts, strict=False))
            # What is said of a photo is the same in each of its rows.
            if row.key not in entries:
                entries[row.key] = _entry(row)
    return Listing(entries, dict(notes.most_common()), tuple(failed.items()))


def _entry(row: RunRow) -> Entry:
    if row.label_index is None or row.prediction is None:
        status = UNKNOWN
    else:
        status = RIGHT if row.label_index == row.prediction else WRONG
    return Entry(
        label=row.label or "",
        guess=row.prediction_label or "",
        probability=row.probability,
        status=status,
        truth=class_id(row.label_index, row.label),
        taken=class_id(row.prediction, row.prediction_label),
    )
