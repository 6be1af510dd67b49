"""A table of photos as Parquet: paths, or the bytes of pictures, and perhaps labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.archives import check_claim
from gradsight.errors import GradsightError, ImageError, InvalidArgument, MissingDependency, cause, one_line
from gradsight.foreign import Json
from gradsight.limits import MEMBER_BYTES
from gradsight.runs.item import Content, Item, Unreadable
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.columns import LABEL, PATH, PICTURE, name_in
from gradsight.runs.sources.labels import Names, label_of
from gradsight.runs.sources.listing import broken, item_at, list_of
from gradsight.runs.sources.source import Given, Source

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

SUFFIXES = (".parquet", ".pq")

_TOLD = 10_000
"""So many rows behind some damage are told one by one."""

_ROWS = 16
"""Taken at once: pictures of a camera have some 10 MB each."""


@dataclass(frozen=True)
class _Columns:
    """Where things are.

    Attributes:
        path: the column of paths; None where there is none.
        picture: that of the bytes of pictures, or of objects that have them; None where there is none.
        label: that of labels; None where there is none.
        names: of the data set's classes, by the numbers in ``label``; None where it does not say them.
    """

    path: str | None
    picture: str | None
    label: str | None
    names: Names

    @property
    def read(self) -> list[str]:
        """The columns that are read."""
        return [name for name in (self.path, self.picture, self.label) if name is not None]


def found(given: Given) -> Source | None:
    """The photos in a table, if one is given.

    Columns are found by their usual names. One of pictures holds bytes, or ``{"bytes", "path"}`` as the tables of
    Hugging Face's data sets do, whose names of classes are taken.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    path = list_of(given, SUFFIXES)
    if path is None:
        return None
    with _reading(path) as file:
        length, columns = file.metadata.num_rows, _columns(path, file.schema_arrow)
        check_claim(_claimed(file, columns), os.path.getsize(path), repr(str(path)), InvalidArgument)
    if not length:
        raise ImageError(f"{str(path)!r} lists no photo: it has no rows.")
    return Source(str(path), lambda: _items(path, columns), length)


@contextmanager
def _reading(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a table; what fails on damage in the block is told too."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency("Tables of Parquet need pyarrow. Install it: pip install 'gradsight[run]'.") from error
    try:
        # Without reading ahead, which takes all of a group of rows into memory: often 1000 pictures.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            yield file
    except GradsightError:
        raise
    except Exception as error:  # of damaged bytes pyarrow raises errors of several kinds
        raise InvalidArgument(
            f"{str(path)!r} is no table of Parquet, or is damaged: {one_line(error)}. Get it again."
        ) from cause(error)


def _columns(path: Path, schema: pyarrow.Schema) -> _Columns:
    types = {field.name: field.type for field in schema}
    texts = [name for name, kind in types.items() if _is_text(kind)]
    pictures = [name for name, kind in types.items() if _holds_pictures(kind)]
    path_column, label = name_in(texts, PATH), name_in(list(types), LABEL)
    # A single column of bytes is meant, whatever it is called.
    picture = pictures[0] if len(pictures) == 1 else name_in(pictures, PICTURE)
    if path_column is None and picture is None:
        raise InvalidArgument(
            f"{str(path)!r} must have a column of paths or of the bytes of pictures. Received: {list(types)[:12]}. "
            "Call it path, or image."
        )
    return _Columns(path_column, picture, label, _names(schema, label))


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain))


def _holds_pictures(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _names(schema: pyarrow.Schema, label: str | None) -> Names:
    """The names of classes that a table of Hugging Face's says beside its columns."""
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        feature: Json = json.loads(written)["info"]["features"][label]
        names = feature["names"]
        return [str(name) for name in names] if isinstance(names, list) else None
    except (ValueError, RecursionError, KeyError, TypeError):  # there are none, or in a form that is not known
        return None


def _claimed(file: pyarrow.parquet.ParquetFile, columns: _Columns) -> int:
    """How many bytes the largest group of rows unpacks to, in the columns that are read."""
    claimed = [0]
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        claimed.append(sum(x.total_uncompressed_size for x in chunks if x.path_in_schema.split(".")[0] in columns.read))
    return max(claimed)


def _items(path: Path, columns: _Columns) -> Iterator[Item]:
    number = 0
    with _reading(path) as file:
        for group in range(file.metadata.num_row_groups):
            last = number + file.metadata.row_group(group).num_rows
            try:
                for row in _rows(file, group, columns.read):
                    number += 1
                    yield _item(path, number, row, columns)
            except Exception as error:  # as above; the rows behind the damage are told, and the next group is whole
                yield from _missing(path, number, last, f"it is damaged: {one_line(error)}")
            number = last


def _missing(path: Path, first: int, last: int, why: str) -> Iterator[Item]:
    """What tells of the rows behind ``first``, one by one, unless a damaged count claims that there are very many."""
    if last - first > _TOLD:
        yield broken(path, f"rows {first + 1} to {last}", why)
    else:
        yield from (broken(path, f"row {number + 1}", why) for number in range(first, last))


def _rows(file: pyarrow.parquet.ParquetFile, group: int, columns: list[str]) -> Iterator[Mapping[str, Json]]:
    # Of one group alone, since what is taken at once would reach into the next one.
    for batch in file.iter_batches(_ROWS, row_groups=[group], columns=columns, use_threads=False):
        yield from batch.to_pylist()


def _item(path: Path, number: int, row: Mapping[str, Json], columns: _Columns) -> Item:
    where = f"row {number}"
    label = None if columns.label is None else label_of(row[columns.label], columns.names)
    written = None if columns.path is None else row[columns.path]
    picture = None if columns.picture is None else row[columns.picture]
    if isinstance(picture, Mapping):
        written, picture = written or picture.get("path"), picture.get("bytes")
    if picture is None:
        return item_at(path, where, written or "", label)
    # A table may name its pictures, by names that they had elsewhere.
    key = readable(written) if written else f"{readable(path.stem)}/{number}"
    return Item(key, _bounded(picture, path, where), place_of(str(path), str(number)), label)


def _bounded(picture: bytes, path: Path, where: str) -> Content:
    try:
        MEMBER_BYTES.check(len(picture), f"{str(path)!r}, {where}: the picture is too large: {len(picture):,} bytes")
    except GradsightError as error:
        return Unreadable(str(error))
    return picture


def picture_in(path: Path, row: int) -> bytes:
    """The bytes of the picture in a row of a table, counted from 1.

    Raises:
        GradsightError: there is no such table or row, or it is damaged.
    """
    with _reading(path) as file:
        columns = _columns(path, file.schema_arrow)
        first = 0
        for group in range(file.metadata.num_row_groups if columns.picture else 0):
            count = file.metadata.row_group(group).num_rows
            found = _nth(file, group, row - first - 1, columns.picture) if first < row <= first + count else None
            if isinstance(found, bytes):
                return found
            first += count
    raise ImageError(f"{str(path)!r} has no picture in row {row} any more. Was the table replaced?")


def _nth(file: pyarrow.parquet.ParquetFile, group: int, row: int, column: str | None) -> object:
    batches = file.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False)
    batch = next(islice(batches, row // _ROWS, None))
    value: object = batch.column(0)[row % _ROWS].as_py()
    return value.get("bytes") if isinstance(value, Mapping) else value
