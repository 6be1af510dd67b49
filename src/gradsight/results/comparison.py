"""One photo as several methods, layers and classes see it: the value that `gradsight.compare` gives, in one picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from gradsight import imaging
from gradsight.checks import optional, taken
from gradsight.errors import GradsightError, InvalidArgument, received
from gradsight.registry import Method
from gradsight.results import html, wording
from gradsight.results.explanation import Explanation
from gradsight.results.sheet import legends
from gradsight.rules import Choice, Each, Instance, Name, Text

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""What the name of a comparison's picture may end in."""

_SCALES = {
    "own": "Each map is drawn by its own strength; under it stands its strength beside the strongest of its row.",
    "shared": "The maps of a row are drawn by the strongest of them, so that a weak map looks weak.",
}
_APART = "Different rows cannot be compared by strength: each method has its own unit, and so has each layer."

SCALE = Choice(tuple(_SCALES), "scale")
"""By what the maps of a row are drawn."""

_MOST = 10_000
"""Rows of a comparison: more could not be drawn."""

Record = dict[str, Any]
"""What a cell of the grid holds, as JSON has it."""


@dataclass(frozen=True)
class Row:
    """One method at one layer, or why it has nothing to show.

    Attributes:
        method: which one.
        explanation: None where it failed.
        error: None where it worked.
    """

    method: Method
    explanation: Explanation | None = None
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Why it failed, in words; empty where it did not."""
        if self.error is None:
            return ""
        own = isinstance(self.error, GradsightError)
        return str(self.error) if own else f"{type(self.error).__name__}: {self.error}"


_ROWS = Each(Instance(Row, "a row of a comparison"), range(_MOST))


@dataclass(frozen=True)
class Comparison:
    """One photo as several methods, layers and classes see it: a row each way, a column each class.

    Notebooks draw it.

    Attributes:
        rows: the methods in the order in which they were named, each with its explanation or its error.
        name: of the photo, for people.
        scale: ``"own"`` draws each map by its own strength, ``"shared"`` by the strongest map of its row, which is one
            method at one layer. Values of different methods are in different units, and so are those of one method at
            different layers (a layer with four times the positions shares the same score out among them): nothing is
            ever scaled over rows.
        colormap: of all overlays, as in `imaging.overlay`; None for the one that fits.
        opacity: of all overlays, as in `imaging.overlay`.

    Raises:
        Exception: no row has an explanation: the error of the first one.
        UnknownName: there is no such scale.

    >>> from gradsight.registry import METHODS
    >>> from gradsight.results.example import example
    >>> comparison = Comparison((Row(METHODS["gradcam"], example()),), name="cat.jpg")
    >>> comparison.records()[0]["strength"], len(comparison.failed)
    (1.0, 0)
    """

    rows: tuple[Row, ...]
    name: str = ""
    scale: str = "own"
    colormap: str | None = None
    opacity: str | float = "value"

    def __post_init__(self) -> None:
        taken("scale", self.scale, SCALE)
        object.__setattr__(self, "rows", taken("rows", self.rows, _ROWS))
        optional("name", self.name, Text())
        if not self.rows:
            raise InvalidArgument("a comparison needs a method at least. Received: none.")
        # An error and not an empty picture: nothing that was asked for could be shown.
        if not self.explanations and self.rows[0].error is not None:
            raise self.rows[0].error

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """Those of the rows that worked."""
        return tuple(row.explanation for row in self.rows if row.explanation is not None)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that did not work."""
        return tuple(row for row in self.rows if row.error is not None)

    def in_shell(self) -> Comparison:
        """The same, with notes that name options as they are typed on the command line."""
        told = (
            row if row.explanation is None else replace(row, explanation=row.explanation.in_shell())
            for row in self.rows
        )
        return replace(self, rows=tuple(told))

    def figure(self) -> Image.Image:
        """The grid as a picture, with what the model says and what the colours mean."""
        first = self.explanations[0]
        general = _common(self.explanations)
        # Of methods that look at one layer; the other rows always tell what they are of (`_drawn`).
        layers = {e.layers[0] for e in self.explanations if e.at == "layer"}
        about = [self.name, said_by(first)]
        about += [f"model {first.model}" + (f", layer {min(layers)}" if len(layers) == 1 else "")]
        about += [
            *([_SCALES[self.scale]] if len(first.targets[0]) > 1 else []),
            *([_APART] if len(self.rows) > 1 else []),
            # Sorted, since a set has an order of its own in each process.
            *(f"Note: {note}" for note in sorted(general)),
        ]
        signed = [target.signed for target in first.targets[0]]
        drawn = [self._drawn(row, general, tell_layer=len(layers) > 1) for row in self.rows]
        # What a model that makes a video of photos is explained on has another shape than the photo.
        photo = first.photos[0] if first.photos and len(first.input_size) == 2 else None
        told = [line for line in about if line]
        return imaging.grid(photo, told, _columns(first), drawn, legends=legends(signed, self.colormap))

    def _drawn(self, row: Row, general: set[str], *, tell_layer: bool) -> imaging.Row:
        explanation = row.explanation
        if explanation is None:
            return imaging.Row(row.method.title, [], failure=f"Not drawn: {row.reason}")
        told = tell_layer or explanation.at != "layer"
        remarks = [wording.place(explanation.layers)] if told else []
        if len(explanation.targets[0]) > 1:
            remarks += sorted(_shared_notes(explanation) - general)
        cells = []
        for j, strength in enumerate(_strengths(explanation)):
            picture = explanation.overlay(0, j, colormap=self.colormap, opacity=self.opacity, scale=self.scale)
            # With one column each map is the strongest of its row: to say so would say nothing.
            strong = "nothing speaks for it" if not strength else f"strength {wording.share(strength)}"
            cells.append((picture, strong if not strength or len(explanation.targets[0]) > 1 else ""))
        return imaging.Row(row.method.title, remarks, cells)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure, as PNG, JPEG or WebP.

        Raises:
            InvalidArgument: it cannot be written there.
        """
        path = Path(taken("path", path, Name()))
        if path.suffix.lower() not in SUFFIXES:
            raise InvalidArgument(f"`path` must end in {', '.join(SUFFIXES)}. {received(str(path))}")
        imaging.save(self.figure(), path)

    def records(self) -> list[Record]:
        """Plain values for JSON: one for each cell, and one for each method that failed.

        ``row`` and ``column`` count from 0. A cell has what `Explanation.record` says of its target, and ``strength``,
        its strength beside the strongest of its row, 0 to 1; a failed method has ``error``.
        """
        return [record for number, row in enumerate(self.rows) for record in self._records(number, row)]

    def _records(self, number: int, row: Row) -> Iterator[Record]:
        about = {"image": self.name, "row": number, "method": row.method.name, "title": row.method.title}
        if row.explanation is None:
            yield {**about, "model": self.explanations[0].model, "error": row.reason}
            return
        record, strengths = row.explanation.record(0).to_dict(), _strengths(row.explanation)
        shared = {key: record[key] for key in ("version", "layers", "at", "model", "width", "height", "size")}
        for column, (target, strength) in enumerate(zip(record["targets"], strengths, strict=True)):
            yield {**about, **shared, "column": column, **target, "strength": strength}

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(row.method.name for row in self.rows))
        return f"Comparison({len(self.rows)} rows: {names}; labels={self.explanations[0].labels[0]})"

    def _repr_html_(self) -> str:
        picture = self.figure()
        return html.inline(html.small(picture, html.LARGE), picture.size, f"{self.name or 'photo'}, compared")


def said_by(explanation: Explanation) -> str:
    """The best classes of the photo in words; empty where the model gives none."""
    if not explanation.predictions:
        return ""
    best = explanation.predictions[0][:3]
    return "The model says: " + ", ".join(f"{p.label} {wording.share(p.probability)}" for p in best)


def _columns(explanation: Explanation) -> list[list[str]]:
    shares = wording.chances(explanation)
    return [
        [
            target.label,
            f"score {score:.2f}" + (f", {wording.share(shares[target.index])}" if target.index in shares else ""),
        ]
        for target, score in zip(explanation.targets[0], explanation.scores[0], strict=True)
    ]


def _shared_notes(explanation: Explanation) -> set[str]:
    """Notes that the maps of all targets have."""
    return set.intersection(*({str(note) for note in notes} for notes in explanation.target_notes[0]))


def _common(explanations: Sequence[Explanation]) -> set[str]:
    """Notes that every map of every row has."""
    return set.intersection(*map(_shared_notes, explanations))


def _strengths(explanation: Explanation) -> list[float]:
    """How strong each map is beside the strongest of its row; 0 where there is nothing to draw."""
    scale = explanation.scale[0]
    # Where nothing is over 0 the maximum may be 0 too.
    return [float(one / scale.max()) if one else 0.0 for one in scale]
