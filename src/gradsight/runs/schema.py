"""What a run keeps of an image: one row for each target, layer and method, and the columns of its table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from gradsight.results import schema
from gradsight.results.schema import Single, Small
from gradsight.targets import Prediction

if TYPE_CHECKING:
    import pyarrow

VERSION = 1
"""Of the columns. It grows when one is renamed, removed or means something else, not when one is added."""

EXPLAINED, FAILED = "explained", "failed"
"""What ``status`` may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One image, by one method, at one layer (or several at once), for one target; or an image that failed.

    Positions are in pixels of the photo, (row, column), or of the model's input where there was no photo. What does not
    apply is None, as everything but the first fields of an image that failed.

    Attributes:
        key: what the image is called; each is in a run once.
        path: where its photo is read again to be drawn; None where it was given in memory.
        fingerprint: of the photo (`fingerprint.of`), so that heat is drawn on the very photo that was explained.
        status: ``"explained"`` or ``"failed"``.
        error: why it failed.
        width: of the photo in pixels, or of the model's input where there is no photo; None for a signal.
        height: as ``width``.
        label: the class that it belongs to, where that is known.
        label_index: which of the model's classes that is, where it is one.
        prediction: the model's best class.
        prediction_label: its name.
        probability: what the model gives it, in [0, 1].
        top: the best classes, the best first.
        written: what the model wrote, a caption or the answer.
        target: which of the targets that were asked for, from 0.
        index: the class that is explained; None where the target is not one class.
        target_label: what to call the target.
        sides: what the two signs of its map speak for, where both mean something.
        place: the box that the target is about, (top, left, bottom, right).
        score: the explained score, a logit where the model has logits.
        layers: the layers' names; empty where the map is of the input.
        at: what the map is of: ``"layer"``, ``"layers"`` or ``"input"``.
        method: the method's name with its options.
        title: what its paper calls it.
        map: the raw map divided by ``scale``, as float16, little-endian, row by row (`maps.packed`).
        scale: what the values of ``map`` are multiplied by.
        shape: of the map.
        input_size: the positions of the model's input.
        seen: the region of the photo that the input covers, (top, left, bottom, right) in pixels; it reaches beyond
            the photo where the input was padded.
        signed: both signs of the map mean something.
        peak: the hottest position; None where nothing is hot.
        box: the hot area around it.
        area: the share of all positions that is hot, in [0, 1].
        border: the share of the heat in the outer tenth of the input, in [0, 1].
        entropy: of the heat as a distribution over its positions, divided by the largest possible, in [0, 1].
        notes: codes of what the reader must know.
        note_texts: the same in words.
        features: the layer's activations, averaged under the hot area, a number for each channel: float16,
            little-endian; only where the run was asked for them.
    """

    # In the order in which people look for them: what it is, what the model said of it, what was explained, the map.
    key: str
    path: str | None = None
    fingerprint: str | None = None
    status: str = EXPLAINED
    error: str | None = None
    width: Small | None = None
    height: Small | None = None
    label: str | None = None
    label_index: Small | None = None
    prediction: Small | None = None
    prediction_label: str | None = None
    probability: Single | None = None
    top: tuple[Prediction, ...] = ()
    written: str | None = None
    target: Small | None = None
    index: Small | None = None
    target_label: str | None = None
    sides: tuple[str, ...] = ()
    place: tuple[float, ...] | None = None
    # As the model gives it: more digits would be made up.
    score: Single | None = None
    layers: tuple[str, ...] = ()
    at: str | None = None
    method: str | None = None
    title: str | None = None
    map: bytes | None = None
    scale: Single | None = None
    shape: tuple[Small, ...] = ()
    input_size: tuple[Small, ...] = ()
    seen: tuple[float, ...] | None = None
    signed: bool | None = None
    peak: tuple[Small, ...] | None = None
    box: tuple[Small, ...] | None = None
    # As records have it, to the last digit.
    area: float | None = None
    border: Single | None = None
    entropy: Single | None = None
    notes: tuple[str, ...] = ()
    note_texts: tuple[str, ...] = ()
    features: bytes | None = None

    @classmethod
    def failed(
        cls,
        key: str,
        error: BaseException | str,
        *,
        path: str | None = None,
        label: str | None = None,
        label_index: int | None = None,
    ) -> RunRow:
        """The row of an image that could not be read or explained."""
        return cls(key=key, path=path, status=FAILED, error=str(error), label=label, label_index=label_index)


def arrow_schema() -> pyarrow.Schema:
    """The columns of a run's table, made of the fields of `RunRow`; the version is in its metadata.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    return schema.arrow(RunRow, {"gradsight.version": str(VERSION)})


def columns() -> tuple[str, ...]:
    """The names of all columns."""
    return tuple(field.name for field in fields(RunRow))
