"""A table of photos as CSV: their paths, and perhaps their labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradsight.errors import ImageError, InvalidArgument, one_line
from gradsight.runs.item import Item
from gradsight.runs.sources.columns import LABEL, name_in
from gradsight.runs.sources.labels import label_of
from gradsight.runs.sources.listing import broken, is_picture, item_at, lines, list_of, path_column
from gradsight.runs.sources.source import Given, Source

SUFFIXES = (".csv", ".tsv")

_TOO_LONG = "\0"
"""Stands for a line that is too long: no text has it."""

_Row = tuple[int, Sequence[str] | str]
"""A line's number with its cells, or with what is wrong."""


@dataclass(frozen=True)
class _Columns:
    """Where things are.

    Attributes:
        path: the number of the column of paths.
        label: that of labels; None where there are none.
        header: the first row says what is what.
    """

    path: int
    label: int | None
    header: bool


def found(given: Given) -> Source | None:
    """The photos that a table lists, if one is given.

    Its first row says which column is what, by the usual names: ``path`` or ``file_name``, ``label`` or ``class``.
    Without such a row the first column holds the paths, and the second the labels.
    """
    path = list_of(given, SUFFIXES)
    if path is None:
        return None
    columns = _columns(path)
    # Rows and not lines: a cell may go on in the next line.
    length = sum(1 for _ in _rows(path)) - columns.header
    if not length:
        raise ImageError(f"{str(path)!r} lists no photo. Give one in each row.")
    return Source(str(path), lambda: _items(path, columns), length)


def _columns(path: Path) -> _Columns:
    _, first = next(_rows(path), (0, ()))
    if not first:
        raise ImageError(f"{str(path)!r} lists no photo: it is empty. Give one in each row.")
    if isinstance(first, str):
        raise InvalidArgument(f"{str(path)!r} must be a table, and its first row cannot be read: {first}.")
    named = path_column(first)
    if named is not None:
        label = name_in(first, LABEL)
        return _Columns(first.index(named), None if label is None else first.index(label), True)
    if is_picture(first[0].strip()):
        return _Columns(0, 1 if len(first) > 1 else None, False)
    raise InvalidArgument(
        f"{str(path)!r} must say in its first row which column holds the paths. Received: {list(first[:12])}. Call it "
        "path, and that of labels, if there are some, label."
    )


def _items(path: Path, columns: _Columns) -> Iterator[Item]:
    rows = _rows(path)
    if columns.header:
        next(rows)
    for number, cells in rows:
        where = f"line {number}"
        if isinstance(cells, str):
            yield broken(path, where, cells)
        else:
            cell = dict(enumerate(cells))
            label = None if columns.label is None else label_of(cell.get(columns.label))
            yield item_at(path, where, cell.get(columns.path, ""), label)


def _rows(path: Path) -> Iterator[_Row]:
    """The rows that are not empty; what is wrong with one instead of its cells."""
    reader = csv.reader(_text(path), delimiter=_delimiter(path))
    while True:
        begun = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # such as a quote that is never closed, which makes one cell of the rest
            yield begun, one_line(error)
            continue
        if cells == [_TOO_LONG]:
            yield begun, "it is too long"
        elif any(cell.strip() for cell in cells):
            yield begun, cells


def _text(path: Path) -> Iterator[str]:
    return (f"{_TOO_LONG}\n" if line is None else line for _, line in lines(path))


def _delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = next((line for _, line in lines(path) if line and line.strip()), "")
    # Semicolons where the first line has no comma: so spreadsheets write it in half of the world.
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")
