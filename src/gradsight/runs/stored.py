"""Explanations made again of the rows of a run; they draw themselves on their photo, which is read when it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradsight import contents
from gradsight.checks import taken
from gradsight.errors import GradsightError, InvalidArgument, one_line
from gradsight.imaging import Placement, Region
from gradsight.limits import PIXELS
from gradsight.results.explanation import Explanation
from gradsight.results.note import Note
from gradsight.results.storage import PLACE
from gradsight.rules import Flag
from gradsight.runs.manifest import Manifest
from gradsight.runs.maps import unpacked
from gradsight.runs.photo import Found, again
from gradsight.runs.schema import RunRow
from gradsight.targets import TargetInfo


@dataclass(frozen=True, eq=False, repr=False)
class StoredExplanation(Explanation):
    """An explanation of a run: maps to float16, and regions as they were found in the maps themselves.

    Attributes:
        regions: for each image and target its region, None where nothing is hot.
    """

    regions: tuple[tuple[Region | None, ...], ...] = ()

    def region(self, image: int = 0, target: int = 0, *, against: bool = False) -> Region | None:
        """As `Explanation.region`."""
        # Two positions that differ by less than float16 tells apart would be one, and the peak lie between them.
        if taken("against", against, Flag()) or not self.regions:
            return super().region(image, target, against=against)
        image, target = self._at(image, target)
        return self.regions[image][target]

    def _regions(self, image: int) -> list[Region | None]:
        return list(self.regions[image]) if self.regions else super()._regions(image)


def explanations_of(rows: Sequence[RunRow], manifest: Manifest, photos: Found | None) -> tuple[Explanation, ...]:
    """The explanations of one image: one for each layer and method, in the order of their rows.

    Args:
        rows: of the image.
        manifest: of the run.
        photos: what finds its photo, where that is elsewhere now.

    Raises:
        InvalidArgument: rows that fit each other not, as of a damaged run.
    """
    # Not by the order of names: methods come back in the order in which they were asked for.
    groups: dict[tuple[object, ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault((row.layers, row.at, row.method), []).append(row)
    return tuple(_explanation(own, manifest, photos) for own in groups.values())


def _explanation(rows: Sequence[RunRow], manifest: Manifest, photos: Found | None) -> Explanation:
    try:
        # As any explanation is: it sees that all fits each other, whoever wrote the rows.
        plain = Explanation(**_fields(rows, manifest))
        placement, regions = _placement(rows[0]), (tuple(map(_region, rows)),)
    except (GradsightError, TypeError, ValueError) as error:
        raise damaged(rows[0], error) from error
    held = {**vars(plain), "regions": regions}
    # An array or a signal lies on no photo.
    if placement is None:
        return StoredExplanation._of_call(held, {})
    del held["photos"]
    # Read when it is drawn: a run of a million photos is looked through without opening one.
    return StoredExplanation._of_call(
        {**held, "placements": (placement,)}, {"photos": partial(_photo, rows[0], photos)}
    )


def damaged(row: RunRow, error: Exception) -> InvalidArgument:
    """What is told of rows that do not fit each other."""
    return InvalidArgument(
        f"the rows of {row.key!r} make no explanation: {one_line(error)}. They are damaged: get the run again."
    )


def _photo(row: RunRow, photos: Found | None) -> tuple[object, ...]:
    return (again(row, photos),)


def _fields(rows: Sequence[RunRow], manifest: Manifest) -> dict[str, Any]:
    first = rows[0]
    return {
        "maps": np.stack([_map(row) for row in rows])[None],
        "scores": np.array([[math.nan if row.score is None else row.score for row in rows]], np.float32),
        "targets": (tuple(_target(row) for row in rows),),
        "layers": first.layers,
        "at": first.at,
        "method": first.method,
        "model": manifest.name,
        "input_size": _input_size(first),
        "predictions": (first.top,) if first.top else (),
        "target_notes": (tuple(_notes(row) for row in rows),),
        "title": first.title or "",
        "question": manifest.question,
        "written": () if first.written is None else (contents.text(first.written, "written"),),
        "preprocess": manifest.preprocess,
    }


def _map(row: RunRow) -> NDArray[np.float32]:
    if row.map is None or row.scale is None:
        raise ValueError("a row has no map")
    return unpacked(row.map, row.scale, row.shape)


def _input_size(row: RunRow) -> tuple[int, ...]:
    # A size that a stranger wrote: maps are resized to it when they are drawn.
    PIXELS.check(math.prod(row.input_size), f"`input_size` is too large: {row.input_size}")
    return row.input_size


def _target(row: RunRow) -> TargetInfo:
    if row.target_label is None:
        raise ValueError("a row has no name of its target")
    # It is drawn: a text without end, or a box far away, would take minutes.
    label = contents.text(row.target_label, "target_label")
    if len(row.sides) not in (0, 2):
        raise ValueError(f"`sides` must be two or none, and there are {len(row.sides)}")
    sides = tuple(contents.text(side, "sides") for side in row.sides)
    return TargetInfo(row.index, label, sides, taken("place", row.place or (), PLACE))


def _notes(row: RunRow) -> tuple[Note, ...]:
    if len(row.notes) != len(row.note_texts):
        raise ValueError(f"there are {len(row.notes)} `notes` and {len(row.note_texts)} `note_texts`")
    return tuple(Note(code, text) for code, text in zip(row.notes, row.note_texts, strict=True))


def _region(row: RunRow) -> Region | None:
    if row.peak is None or row.box is None or row.area is None:
        return None
    if len(row.peak) != len(row.input_size) or len(row.box) != 2 * len(row.peak):
        raise ValueError("a peak or a box has another number of axes than the input")
    return Region(row.peak, row.box, row.area)


def _placement(row: RunRow) -> Placement | None:
    """Where the model's input lies on the photo; None where there was none."""
    if row.seen is None or row.height is None or row.width is None or len(row.input_size) != 2:
        return None
    return Placement((row.height, row.width), row.input_size, row.seen)  # type: ignore[arg-type]  # it checks them
