"""From explanations to the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import GradsightError, one_line
from gradsight.recent import Recent
from gradsight.results.explanation import Explanation
from gradsight.results.records import ImageRecord, TargetRecord
from gradsight.runs import fingerprint
from gradsight.runs.concentration import concentrations_of
from gradsight.runs.features import Pooled
from gradsight.runs.item import Item, Label
from gradsight.runs.maps import packed
from gradsight.runs.schema import RunRow
from gradsight.targets import class_index

_BEST = 5
"""So many of the model's best classes are kept."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """What the labels of photos mean to a model.

    Attributes:
        names: of the model's classes; None where they are not known.

    >>> Labelling(("tench", "goldfish")).of("Goldfish"), Labelling(("tench", "goldfish")).of(0)
    (('Goldfish', 1), ('tench', 0))
    """

    names: tuple[str, ...] | None = None
    _known: Recent[Label, tuple[str, int | None]] = field(default_factory=Recent, repr=False)

    def of(self, label: Label | None) -> tuple[str | None, int | None]:
        """A label as text, and which of the model's classes it is, where it is one."""
        # Asked for each photo, and to look through a thousand names takes as long as a small model.
        return (None, None) if label is None else self._known.of(label, lambda: self._read(label))

    def _read(self, label: Label) -> tuple[str, int | None]:
        if isinstance(label, int):
            known = self.names is not None and 0 <= label < len(self.names)
            return (self.names[label] if known and self.names else str(label)), label
        try:
            return label, class_index(label, self.names, len(self.names or ()))
        except GradsightError:  # a class of the user's that the model does not know
            return label, None


def rows_of(
    explanations: Sequence[Explanation],
    item: Item,
    labelling: Labelling,
    image: int = 0,
    features: Pooled = (),
) -> list[RunRow]:
    """The rows of one photo: of each layer and method one for each target.

    Args:
        explanations: one for each layer and method; of the photo alone, or of a batch with others.
        item: the photo.
        labelling: what its label means.
        image: which image of the explanations it is.
        features: of the explanations, where some are kept.
    """
    shared = _of_item(item, labelling)
    rows: list[RunRow] = []
    for number, explanation in enumerate(explanations):
        # Regions, scales and predictions are those of the record: what `explain` writes and a run say the same.
        record = explanation.record(image)
        own = [_of_target(_of_map(_of_image(shared, record), explanation, image), one) for one in record.targets]
        rows += _with_values(own, explanation, image, features[number] if features else None)
    return rows


def failed_row(item: Item, error: BaseException, labelling: Labelling) -> RunRow:
    """The row of a photo that could not be read or explained."""
    label, index = labelling.of(item.label)
    words = str(error) if isinstance(error, GradsightError) else f"{type(error).__name__}: {one_line(error)}"
    return RunRow.failed(item.key, words, path=item.path, label=label, label_index=index)


def _of_item(item: Item, labelling: Labelling) -> RunRow:
    label, index = labelling.of(item.label)
    return RunRow(key=item.key, path=item.path, fingerprint=_fingerprint(item), label=label, label_index=index)


def _fingerprint(item: Item) -> str | None:
    """Of a photo that is read again to be drawn on; None of one that is not."""
    if item.path is None:
        return None
    source = item.source
    try:
        if not isinstance(source, Path | bytes | Image.Image | np.ndarray):
            source = source.read()  # a part of a larger file
        return fingerprint.of(source)
    except GradsightError:  # the file went away in the meantime: the photo was explained all the same
        return None


def _of_image(row: RunRow, record: ImageRecord) -> RunRow:
    best = record.predictions[0] if record.predictions else None
    return replace(
        row,
        width=record.width,
        height=record.height,
        prediction=None if best is None else best.index,
        prediction_label=None if best is None else best.label,
        probability=None if best is None else best.probability,
        top=record.predictions[:_BEST],
        written=record.caption or record.answer,
        layers=record.layers,
        at=record.at,
        method=record.method,
        title=record.title,
    )


def _of_map(row: RunRow, explanation: Explanation, image: int) -> RunRow:
    placed = explanation.placements[image] if explanation.placements else None
    return replace(
        row,
        shape=tuple(explanation.maps.shape[2:]),
        input_size=tuple(explanation.input_size),
        seen=None if placed is None else placed.box,
    )


def _of_target(row: RunRow, record: TargetRecord) -> RunRow:
    return replace(
        row,
        index=record.index,
        target_label=record.label,
        place=record.place,
        score=record.score,
        signed=record.signed,
        peak=record.peak,
        box=record.box,
        area=record.area,
        notes=tuple(note.code for note in record.notes),
        note_texts=tuple(note.text for note in record.notes),
    )


def _with_values(
    rows: Sequence[RunRow], explanation: Explanation, image: int, features: NDArray[np.float16] | None
) -> list[RunRow]:
    """Rows of one map each, of the targets of an image, with the map itself and what is measured of it."""
    found = concentrations_of(explanation.maps[image], [bool(row.signed) for row in rows])
    made = []
    for target, (row, heat) in enumerate(zip(rows, found, strict=True)):
        content, scale = packed(explanation.maps[image, target])
        made.append(
            replace(
                row,
                target=target,
                sides=explanation.targets[image][target].sides,
                map=content,
                scale=scale,
                border=heat.border,
                entropy=heat.entropy,
                # Of a map that is hot nowhere there are none.
                features=None if features is None or row.peak is None else _bytes(features[image, target]),
            )
        )
    return made


def _bytes(values: NDArray[np.float16]) -> bytes:
    return values.astype("<f2").tobytes()
