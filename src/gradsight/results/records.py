"""What is written about an image: typed records, one schema with a version. JSON and Arrow's schema come from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradsight.results import schema
from gradsight.results.note import Note
from gradsight.targets import Prediction

if TYPE_CHECKING:
    import pyarrow

VERSION = 1
"""Of the schema. It grows when a field is renamed, removed or means something else, not when one is added."""

_SAID = ("image", "file", "question", "answer", "caption")
"""Fields that JSON leaves out where they are None: they belong to some commands and some models."""


@dataclass(frozen=True, kw_only=True)
class RegionRecord:
    """Where a map is hot, in positions of the photo, or of the model's input where there is no photo.

    Attributes:
        peak: the hottest position, a number for each axis, such as (row, column); None where nothing is hot.
        box: the hot area around it, for each axis where it begins and then for each where it ends, exclusive: (top,
            left, bottom, right); None where nothing is hot.
        area: the share of all positions that is hot, in [0, 1].
    """

    peak: tuple[int, ...] | None
    box: tuple[int, ...] | None
    area: float


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """One target of an image.

    Attributes:
        index: the class; None where the target is not one class.
        label: what to call it.
        score: the explained score, a logit where the model has logits.
        file: the name of the drawn overlay; None if there is none.
        peak: as in `RegionRecord`.
        box: as in `RegionRecord`.
        area: as in `RegionRecord`.
        place: the box that the target is about, (top, left, bottom, right); None where it is about none.
        signed: both signs of the map mean something.
        against: where the map is most negative; None where it is not signed.
        scale: the raw value that is drawn as full heat.
        notes: what the reader must know.
    """

    index: int | None
    label: str
    score: float
    file: str | None
    peak: tuple[int, ...] | None
    box: tuple[int, ...] | None
    area: float
    place: tuple[float, ...] | None
    signed: bool
    against: RegionRecord | None
    scale: float
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image with all of its targets, by one method.

    Attributes:
        version: of the schema.
        image: the photo's name, where one is known.
        file: the one picture that shows all targets, where there is one.
        width: of the photo in pixels, or of the model's input where there is no photo; None for a signal.
        height: in pixels, as ``width``.
        size: the lengths of the axes that positions are in: (height, width), (samples,) or (slices, height, width).
        model: its name.
        layers: the layers' names; empty where the map is of the input.
        at: what the map is of: ``"layer"``, ``"layers"`` or ``"input"``.
        method: the method's name.
        title: what its paper calls it.
        preprocess: how the photo was made the model's input; None where arrays were given.
        assumed: some of that was a guess.
        question: what the model was asked, if it was.
        answer: what it answered.
        caption: what it wrote without being asked.
        predictions: its best classes, the best first.
        targets: what was explained.

    >>> from gradsight.results.example import example
    >>> record = example().record()
    >>> record.layers, record.targets[0].peak
    (('layer4',), (34, 7))
    >>> ImageRecord.from_dict(record.to_dict()) == record
    True
    """

    version: int = VERSION
    image: str | None = None
    file: str | None = None
    width: int | None
    height: int | None
    size: tuple[int, ...]
    model: str
    layers: tuple[str, ...]
    at: str
    method: str
    title: str
    preprocess: Mapping[str, object] | None = field(hash=False)
    assumed: bool
    question: str | None = None
    answer: str | None = None
    caption: str | None = None
    predictions: tuple[Prediction, ...]
    targets: tuple[TargetRecord, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values for JSON: dicts, lists, texts, numbers, truth values and None."""
        # None where a value is missing is told; a field that has no meaning for this model is not there at all.
        plain = schema.to_plain(self)
        return {name: value for name, value in plain.items() if value is not None or name not in _SAID}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object]) -> ImageRecord:
        """A record from what `to_dict` gave, also after JSON; fields that are not known here are left out.

        Raises:
            InvalidArgument: a field is missing or of another type, or the record is of a newer version than this.
        """
        return schema.from_plain(cls, plain, "a record", VERSION)

    def to_row(self) -> dict[str, Any]:
        """The record as a row of a table that has `arrow_schema`; ``preprocess`` is JSON text in it."""
        row = schema.to_plain(self)
        # The keys are the preprocessing's own, and differ between models: a table has the same columns for all.
        row["preprocess"] = None if self.preprocess is None else json.dumps(row["preprocess"], default=str)
        return row

    @classmethod
    def arrow_schema(cls) -> pyarrow.Schema:
        """The schema of tables of records, for Arrow and Parquet: made of the fields of this class.

        Raises:
            MissingDependency: pyarrow is not installed.
        """
        return schema.arrow(cls, {"gradsight.version": str(VERSION)})
