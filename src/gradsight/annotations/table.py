"""A table of boxes: CSV, one row a thing, with a header."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gradsight.annotations.marks import Annotations, Corners, LabelledBox, Marks
from gradsight.annotations.problems import Problems
from gradsight.contents import text
from gradsight.errors import InvalidArgument, one_line
from gradsight.files import read_text
from gradsight.limits import COUNT

_PATH = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "imageid", "image_id", "photo")
_LABEL = ("label", "class", "class_name", "labelname", "category", "name")
_SIDES = (
    ("top", "ymin", "y_min", "y1"),
    ("left", "xmin", "x_min", "x1"),
    ("bottom", "ymax", "y_max", "y2"),
    ("right", "xmax", "x_max", "x2"),
)
_MEASURES = (("y", "top", "ymin"), ("x", "left", "xmin"), ("height", "h"), ("width", "w"))
_WAY_OUT = (
    "Give a header with path, label, top, left, bottom, right (or xmin, ymin, xmax, ymax; or x, y, width, height)."
)

Row = Sequence[str]


def read_table(path: Path) -> Annotations:
    """Read the boxes of a CSV, whose header says what is what: names as they are usual.

    Beside the four sides, ``width`` and ``height`` are the photo's; with ``x`` and ``y`` they are the box's. Where no
    number of the file is over 1, boxes are in shares of the photo, as Open Images has them.

    Raises:
        InvalidArgument: there is no such file, it is no table, or its header does not say where things are.
    """
    rows = _rows(path)
    header = [cell.strip().lower() for cell in rows[0]]
    corners = _corners_in(header)
    file, label = _column(header, _PATH), _column(header, _LABEL)
    if corners is None or file is None or label is None:
        raise InvalidArgument(
            f"{str(path)!r} must say in its first row what is what. Received: {header[:12]}. {_WAY_OUT}"
        )
    problems = Problems()
    things: list[tuple[str, str, Corners]] = []
    for line, row in enumerate(rows[1:], start=2):
        with problems.caught(path.name, f"row {line}"):
            if any(cell.strip() for cell in row):
                things.append((text(_cell(row, file), "its path"), _cell(row, label), corners(row)))
    relative = bool(things) and all(max(map(abs, box)) <= 1 for _, _, box in things)
    boxes: dict[str, list[LabelledBox]] = defaultdict(list)
    for name, what, box in things:
        with problems.caught(path.name, name):
            boxes[name].append(LabelledBox(what, box, relative))
    return Annotations({name: Marks(tuple(found)) for name, found in boxes.items()}, problems.all())


def _rows(path: Path) -> list[list[str]]:
    content = read_text(path, "a table of boxes")
    try:
        # Semicolons where the first line has no comma: so spreadsheets write it in half of the world.
        delimiter = "," if "," in content.partition("\n")[0] else ";"
        rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter))
    except csv.Error as error:  # such as a field over csv's limit
        raise InvalidArgument(f"{str(path)!r} must be a table: {one_line(error)}. {_WAY_OUT}") from error
    COUNT.check(len(rows), f"{path.name!r} has too many rows: {len(rows):,}")
    if not rows:
        raise InvalidArgument(f"{str(path)!r} must have a header. Received: an empty file. {_WAY_OUT}")
    return rows


def _corners_in(header: Sequence[str]) -> Callable[[Row], Corners] | None:
    """What reads (top, left, bottom, right) from a row; None where the header does not say where they are."""
    sides = _columns(header, _SIDES)
    if sides is not None:
        return lambda row: _four(row, sides)
    measures = _columns(header, _MEASURES)
    return None if measures is None else lambda row: _ended(_four(row, measures))


def _ended(measures: Corners) -> Corners:
    top, left, height, width = measures
    return top, left, top + height, left + width


def _four(row: Row, columns: Sequence[int]) -> Corners:
    a, b, c, d = (float(_cell(row, column)) for column in columns)
    return a, b, c, d


def _cell(row: Row, column: int) -> str:
    if column >= len(row) or not row[column].strip():
        raise ValueError(f"its column {column + 1} is empty")
    return row[column].strip()


def _columns(header: Sequence[str], names: Sequence[Sequence[str]]) -> list[int] | None:
    found = [_column(header, words) for words in names]
    columns = [column for column in found if column is not None]
    return columns if len(columns) == len(names) else None


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    places: Mapping[str, int] = {name: at for at, name in reversed(list(enumerate(header)))}
    return next((places[name] for name in names if name in places), None)
