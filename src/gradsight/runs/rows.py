"""From explanations to the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import GradsightError, one_line
from gradsight.recent import Recent
from gradsight.results.explanation import Explanation
from gradsight.runs import fingerprint
from gradsight.runs.features import Pooled
from gradsight.runs.item import Item, Label
from gradsight.runs.measures import Measures, measured
from gradsight.runs.schema import RunRow
from gradsight.targets import Prediction, class_index

_BEST = 5
"""So many of the model's best classes are kept."""

_Columns: TypeAlias = dict[str, Any]
"""Some columns of a row. A row is made of all at once: it cannot be changed, and each change would be a copy."""


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
    label, index = labelling.of(item.label)
    shared: _Columns = {
        "key": item.key,
        "path": item.path,
        "fingerprint": _fingerprint(item),
        "label": label,
        "label_index": index,
    }
    rows: list[RunRow] = []
    measures = measured(explanations, image)
    for number, explanation in enumerate(explanations):
        pooled = features[number] if features else None
        of_image = {**shared, **_of_image(explanation, image)}
        for target, found in enumerate(measures[number]):
            own = _of_target(explanation, image, target)
            rows.append(RunRow(**of_image, **own, **_of_map(found), features=_features(pooled, image, target, found)))
    return rows


def failed_row(item: Item, error: BaseException, labelling: Labelling) -> RunRow:
    """The row of a photo that could not be read or explained."""
    label, index = labelling.of(item.label)
    words = str(error) if isinstance(error, GradsightError) else f"{type(error).__name__}: {one_line(error)}"
    return RunRow.failed(item.key, words, path=item.path, label=label, label_index=index)


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


def _of_image(explanation: Explanation, image: int) -> _Columns:
    """What the rows of an image by one method share; a record of it says the same."""
    predictions = explanation.predictions[image] if explanation.predictions else ()
    best = predictions[0] if predictions else None
    placed = explanation.placements[image] if explanation.placements else None
    size = explanation._size(image)
    return {
        "width": size[-1] if len(size) > 1 else None,
        "height": size[-2] if len(size) > 1 else None,
        "prediction": None if best is None else best.index,
        "prediction_label": None if best is None else best.label,
        "probability": None if best is None else best.probability,
        "top": predictions[:_BEST],
        "written": _written(explanation, image, best),
        "layers": explanation.layers,
        "at": explanation.at,
        "method": explanation.method,
        "title": explanation.title or explanation.method,
        "shape": tuple(explanation.maps.shape[2:]),
        "input_size": tuple(explanation.input_size),
        "seen": None if placed is None else placed.box,
    }


def _written(explanation: Explanation, image: int, best: Prediction | None) -> str | None:
    """The caption or the answer; of a model that writes none its best class answers a question."""
    if explanation.written:
        # An answer may be empty; a caption that is so is none.
        return explanation.written[image] or ("" if explanation.question else None)
    return best.label if explanation.question and best is not None else None


def _of_target(explanation: Explanation, image: int, number: int) -> _Columns:
    target = explanation.targets[image][number]
    notes = explanation.target_notes[image][number] if explanation.target_notes else ()
    return {
        "target": number,
        "index": target.index,
        "target_label": target.label,
        "sides": target.sides,
        "place": tuple(map(float, target.place)) or None,
        "score": float(explanation.scores[image, number]),
        "signed": target.signed,
        "notes": tuple(note.code for note in notes),
        "note_texts": tuple(note.text for note in notes),
    }


def _of_map(found: Measures) -> _Columns:
    region = found.region
    return {
        "map": found.map,
        "scale": found.scale,
        "peak": None if region is None else region.peak,
        "box": None if region is None else region.box,
        "area": 0.0 if region is None else region.area,
        "border": found.heat.border,
        "entropy": found.heat.entropy,
    }


def _features(pooled: NDArray[np.float16] | None, image: int, target: int, found: Measures) -> bytes | None:
    # Of a map that is hot nowhere there are none.
    return None if pooled is None or found.region is None else pooled[image, target].astype("<f2").tobytes()
