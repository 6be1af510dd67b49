"""Parts of a run: files of rows, each written whole or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.errors import MissingDependency
from gradsight.files import durable
from gradsight.results.schema import to_plain
from gradsight.runs.digests import as_text
from gradsight.runs.schema import RunRow, arrow_schema

if TYPE_CHECKING:
    import pyarrow

FOLDER = "rows"
"""Of the parts in a run."""

_GROUP_ROWS = 2048
_GROUP_BYTES = 8 << 20
"""A row group holds no more: it is read whole for one image."""


@dataclass(frozen=True)
class PartWriter:
    """Writes parts into a run. It can be pickled, and several processes may have one of the same run.

    Attributes:
        folder: of the run.
    """

    folder: Path

    def write(self, rows: Sequence[RunRow], position: int = 0) -> Path:
        """Write one part, whole or not at all; it is on the disk when this returns.

        The name says where the part begins and which images it holds, so that a part that is written again, by
        whichever process, takes the place of itself.

        Args:
            rows: all rows of some images, those of one image one after the other.
            position: of the first image among all of the source; parts are read in its order.

        Raises:
            InvalidArgument: it cannot be written, as on a full disk; nothing is left of it then.
        """
        path = self.folder / FOLDER / _name(rows, position)
        with durable(path) as file:
            _write(rows, file)
        return path


def _name(rows: Sequence[RunRow], position: int) -> str:
    keys = dict.fromkeys(row.key for row in rows)
    found = blake2b("\0".join(map(as_text, keys)).encode(), digest_size=8).hexdigest()
    return f"part-{position:012d}-{found}.parquet"


def _write(rows: Sequence[RunRow], file: object) -> None:
    parquet = _parquet()
    schema = arrow_schema()
    # Texts that repeat are kept once; others would fill a dictionary for nothing.
    repeated = [name for name in schema.names if name not in _SINGLE]
    with parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=repeated) as writer:
        for group in _groups(rows):
            writer.write_table(table_of(group, schema))


_SINGLE = ("key", "path", "fingerprint", "map", "features")
"""Columns that hardly hold a value twice."""


def table_of(rows: Sequence[RunRow], schema: pyarrow.Schema) -> pyarrow.Table:
    """Rows as a table."""
    import pyarrow

    columns = [pyarrow.array(_column(rows, field.name), schema.field(field.name).type) for field in fields(RunRow)]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _column(rows: Sequence[RunRow], name: str) -> list[object]:
    values = [getattr(row, name) for row in rows]
    if name == "top":
        return [[to_plain(prediction) for prediction in value] for value in values]
    if name in ("key", "path", "error"):
        return [None if value is None else as_text(value) for value in values]
    return values


def _groups(rows: Sequence[RunRow]) -> Iterator[list[RunRow]]:
    """Rows in groups of which each is small enough to be read whole; an image is never cut."""
    group: list[RunRow] = []
    size = 0
    for _, found in itertools.groupby(rows, lambda row: row.key):
        own = list(found)
        held = sum(len(row.map or b"") + len(row.features or b"") for row in own)
        if group and (len(group) + len(own) > _GROUP_ROWS or size + held > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group += own
        size += held
    if group:
        yield group


def _parquet() -> pyarrow.parquet:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("a run is kept by PyArrow. Install it: pip install 'gradsight[run]'.") from error
    return parquet
