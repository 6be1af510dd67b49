"""What an audit looks at, read from a run: row by row, in the memory of its maps on a small grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.auditing.seen import UNKNOWN, Row, Seen, small, table_of
from gradsight.errors import GradsightError, InvalidArgument
from gradsight.imaging import Placement
from gradsight.runs.maps import unpacked
from gradsight.runs.opened import Run
from gradsight.runs.photo import Found, again
from gradsight.runs.schema import EXPLAINED, RunRow
from gradsight.runs.stored import damaged

_COLUMNS = (
    "key", "path", "fingerprint", "status", "error", "width", "height", "label", "label_index", "prediction",
    "prediction_label", "probability", "index", "target_label", "layers", "method", "map", "scale", "shape",
    "input_size", "seen", "features",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Kept:
    """A photo of a run, read again when its ``source`` is asked for."""

    row: RunRow
    find: Found | None

    @property
    def source(self) -> Image.Image:
        """The very photo that was explained.

        Raises:
            ImageError: it is gone, or another one by now.
        """
        return again(self.row, self.find)


def seen_of_run(run: Run) -> tuple[Seen, tuple[tuple[str, str], ...]]:
    """What a run saw, and the photos that failed, with reasons.

    Of several methods and layers the first counts, and of several targets the model's best class.

    Raises:
        InvalidArgument: the run has no map of a class of a photo.
    """
    # Of each image one row, whatever the run was asked for.
    best: dict[str, Row] = {}
    first: tuple[object, object] | None = None
    for row in _rows(run):
        if row.status != EXPLAINED or row.index is None or len(row.shape) != 2 or row.map is None:
            continue
        # Maps of two methods or layers are not of one kind, and their means would be of neither.
        first = first or (row.method, row.layers)
        there = best.get(row.key)
        if (row.method, row.layers) == first and (there is None or row.index == row.prediction):
            best[row.key] = _checked(row, run._find)
    if not best and not len(run):
        why = f": every photo failed ({len(run.failed)})" if run.failed else ""
        raise InvalidArgument(f"`run` must have explained photos. Received: {run!r}{why}. Type its command again.")
    if not best:
        raise InvalidArgument(
            f"`run` must have maps of classes of photos: an audit compares classes. Received: {run!r}. Run photos "
            "through a model with class scores."
        )
    return table_of(list(best.values())), run.failed


def _rows(run: Run) -> Iterator[RunRow]:
    from gradsight.runs.table import rows_in

    for table in run.tables(_COLUMNS):
        yield from rows_in(table)


def _checked(row: RunRow, find: Found | None) -> Row:
    try:
        return _of(row, find)
    except (GradsightError, TypeError, ValueError, IndexError) as error:  # a stranger may have written it
        raise damaged(row, error) from error


def _of(row: RunRow, find: Found | None) -> Row:
    # Names as the run has them: the model may not be there to ask.
    known = {row.index: row.target_label, row.prediction: row.prediction_label, row.label_index: row.label}
    return Row(
        key=row.key,
        label=UNKNOWN if row.label_index is None else row.label_index,
        prediction=UNKNOWN if row.prediction is None else row.prediction,
        probability=float("nan") if row.probability is None else row.probability,
        target=UNKNOWN if row.index is None else row.index,
        map=small(unpacked(row.map or b"", row.scale or 1.0, row.shape)),
        features=_features(row),
        photo=Kept(_light(row), find),
        placement=_placement(row),
        named={index: name for index, name in known.items() if index is not None and name is not None},
    )


def _light(row: RunRow) -> RunRow:
    """What it takes to find the photo again, without the map."""
    return RunRow(key=row.key, path=row.path, fingerprint=row.fingerprint, width=row.width, height=row.height)


def _features(row: RunRow) -> NDArray[np.float32] | None:
    return None if row.features is None else np.frombuffer(row.features, "<f2").astype(np.float32)


def _placement(row: RunRow) -> Placement:
    # A run of arrays has no photo, and its map covers all that there is.
    size, inputs = (row.height or 1, row.width or 1), (row.input_size[0], row.input_size[1])
    if row.seen is None or len(row.seen) != 4:
        return Placement.whole(size, inputs)
    top, left, bottom, right = row.seen
    return Placement(size, inputs, (top, left, bottom, right))
