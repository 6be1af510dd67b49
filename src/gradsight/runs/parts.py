"""Parts of a run: files of rows, each written whole or not at all."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradsight.files import durable
from gradsight.runs.digests import as_text
from gradsight.runs.reading import FOLDER, SUFFIX, Part, as_mask, parquet_module
from gradsight.runs.schema import RunRow, arrow_schema, columns
from gradsight.runs.table import fields_of, is_list, table_of

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

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
        path = self.folder / FOLDER / _name((row.key for row in rows), position)
        with durable(path) as file:
            _write(rows, file)
        return path

    def put(self, part: Encoded) -> Path:
        """Write a part that another process has encoded, as `write` does; that process need not see the folder."""
        path = self.folder / FOLDER / part.name
        with durable(path) as file:
            file.write(part.content)
        return path

    def copy(self, part: Part, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Copy a part of another run, or some rows of it.

        Args:
            part: of the other run.
            masks: for each row group which rows are taken.

        Raises:
            InvalidArgument: it cannot be read or written.
        """
        if not any(mask.any() for mask in masks):
            return  # nothing of it is new
        keys: dict[str, None] = {}
        for table, mask in zip(part.tables(["key"]), masks, strict=True):
            keys |= dict.fromkeys(table.filter(as_mask(mask))["key"].to_pylist())
        path = self.folder / FOLDER / _name(keys, _position(part))
        with durable(path) as file, _writer(file) as writer:
            for table, mask in zip(part.tables(columns()), masks, strict=True):
                writer.write_table(table.filter(as_mask(mask)))


@dataclass(frozen=True)
class Encoded:
    """A part as the bytes of its file.

    Attributes:
        name: of the file.
        content: the bytes.
    """

    name: str
    content: bytes


def encoded(rows: Sequence[RunRow], position: int = 0) -> Encoded:
    """The part that `PartWriter.write` writes, in memory."""
    file = io.BytesIO()
    _write(rows, file)
    return Encoded(_name((row.key for row in rows), position), file.getvalue())


def _name(keys: Iterable[str], position: int) -> str:
    """The name of the file that holds the rows of some images."""
    # A dict keeps the order of the keys, which a set would not: the name must be the same each time.
    found = blake2b("\0".join(map(as_text, dict.fromkeys(keys))).encode(), digest_size=8).hexdigest()
    return f"part-{position:012d}-{found}{SUFFIX}"


def _position(part: Part) -> int:
    """Where a part began, as its name says; 0 where another program gave it a name."""
    # Runs that are merged keep the order of their source by it.
    found = re.fullmatch(r"part-(\d{12})-[0-9a-f]{16}", part.path.stem)
    return int(found[1]) if found else 0


def _write(rows: Sequence[RunRow], file: object) -> None:
    with _writer(file) as writer:
        for group in _groups(rows):
            writer.write_table(table_of(group))


def _writer(file: object) -> parquet.ParquetWriter:
    schema = arrow_schema()
    # Texts that repeat are kept once; others would fill a dictionary for nothing.
    repeated = [leaf for name, leaf in _leaves(schema) if name not in _SINGLE]
    return parquet_module().ParquetWriter(file, schema, compression="zstd", use_dictionary=repeated)


_SINGLE = ("key", "path", "fingerprint", "map", "features")
"""Columns that hardly hold a value twice."""


def _leaves(schema: pyarrow.Schema) -> Iterator[tuple[str, str]]:
    """The columns as Parquet has them, which has no lists of values but columns of their items: name and path."""
    for field in schema:
        kind, path = field.type, field.name
        if is_list(kind):
            kind, path = kind.value_type, f"{path}.list.element"
        inner = [f"{path}.{one.name}" for one in fields_of(kind)]
        yield from ((field.name, leaf) for leaf in inner or [path])


def _groups(rows: Sequence[RunRow]) -> Iterator[list[RunRow]]:
    """Rows in groups of which each is small enough to be read whole; an image is never cut."""
    group: list[RunRow] = []
    size = 0
    for _, found in itertools.groupby(rows, lambda row: row.key):
        own = list(found)
        # What is beside maps and features is small.
        held = sum(len(row.map or b"") + len(row.features or b"") for row in own)
        if group and (len(group) + len(own) > _GROUP_ROWS or size + held > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group += own
        size += held
    if group:
        yield group
