"""Parts of a run read again, some columns of some rows at a time, whatever version wrote them, and whoever did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, one_line, received
from gradsight.files import entries, opened
from gradsight.limits import ARRAY_BYTES, COUNT
from gradsight.runs.schema import VERSION, arrow_schema

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

Table: TypeAlias = "pyarrow.Table"

FOLDER = "rows"
"""Of the parts in a run."""

SUFFIX = ".parquet"

_LENGTHS = 1 << 24
"""The most items that the lists of one column of a row group have: a million rows with five classes each, thrice."""


def parts_in(folder: Path) -> tuple[Part, ...]:
    """The parts of a run, in the order of the source."""
    found = entries(folder / FOLDER, "the rows of a run")
    return tuple(Part(path) for path in found if path.suffix == SUFFIX)


@dataclass(frozen=True)
class Part:
    """One file of rows.

    Attributes:
        path: of the file.
    """

    path: Path

    def lengths(self) -> tuple[int, ...]:
        """How many rows each of its row groups has.

        Raises:
            InvalidArgument: it is no part of a run.
        """
        with self._opened() as file:
            return tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))

    def read(self, group: int, columns: Collection[str]) -> pyarrow.Table:
        """Some columns of one row group; those that its version did not have are empty.

        Raises:
            InvalidArgument: it is no part of a run, or is damaged.
        """
        with self._opened() as file:
            return _table(file, group, columns)

    def tables(self, columns: Collection[str]) -> Iterator[pyarrow.Table]:
        """Some columns of each row group, one after the other.

        Raises:
            InvalidArgument: as `read`.
        """
        with self._opened() as file:
            for group in range(file.num_row_groups):
                yield _table(file, group, columns)

    @contextmanager
    def _opened(self) -> Iterator[parquet.ParquetFile]:
        kinds = _errors()
        try:
            with opened(self.path, "a part of a run") as file:
                found = _parquet_file(file)
                _check_version(found)
                yield found
        except GradsightError:
            raise
        except kinds as error:
            raise InvalidArgument(
                f"{str(self.path)!r} cannot be read as a part of a run: {one_line(error)}. Get the file again; or "
                "delete it and type the command of the run once more, which explains its images again."
            ) from error


def _errors() -> tuple[type[Exception], ...]:
    """What PyArrow raises about a file that is damaged."""
    import pyarrow

    return pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError


def _parquet_file(file: Any) -> parquet.ParquetFile:
    parquet = parquet_module()
    schema = parquet.ParquetFile(file).schema
    # Texts as they lie in the file, each once with a number for each row: one long text may be said a million times in
    # a file of some bytes, and would fill the memory.
    texts = [leaf.path for i in range(len(schema)) if (leaf := schema.column(i)).physical_type == "BYTE_ARRAY"]
    file.seek(0)
    return parquet.ParquetFile(file, read_dictionary=texts)


def parquet_module() -> Any:
    """PyArrow's Parquet.

    Raises:
        MissingDependency: PyArrow is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("a run is kept by PyArrow. Install it: pip install 'gradsight[run]'.") from error
    return parquet


def _check_version(file: parquet.ParquetFile) -> None:
    metadata = file.schema_arrow.metadata or {}
    found = metadata.get(b"gradsight.version", b"?")
    if not found.isdigit() or int(found) > VERSION:
        raise InvalidArgument(
            f"the rows of a run must be of version {VERSION} or older. {received(found.decode(errors='replace'))} "
            "Update gradsight, or name the folder of a run."
        )


def _table(file: parquet.ParquetFile, group: int, columns: Collection[str]) -> pyarrow.Table:
    schema, columns = arrow_schema(), tuple(dict.fromkeys(columns))
    _check_claims(file.metadata.row_group(group))
    there = [name for name in columns if name in file.schema_arrow.names]
    read = file.read_row_group(group, columns=there, use_threads=False)
    read.validate(full=True)
    return conformed(read, schema, columns)


def _check_claims(group: Any) -> None:
    """See that a row group does not claim more than is read at once."""
    COUNT.check(group.num_rows, f"a row group is too large: {group.num_rows:,} rows")
    for i in range(group.num_columns):
        column = group.column(i)
        what = f"the column {column.path_in_schema[:80]!r} of a row group is too large"
        if not 0 <= column.num_values <= _LENGTHS:
            raise ValueError(f"{what}: {column.num_values:,} values")
        ARRAY_BYTES.check(column.total_uncompressed_size, f"{what}: {column.total_uncompressed_size:,} bytes")


def conformed(read: pyarrow.Table, schema: pyarrow.Schema, columns: Collection[str]) -> pyarrow.Table:
    """Columns with the types that rows have now; a column that is not there is empty."""
    import pyarrow

    arrays, fields = [], [schema.field(name) for name in columns]
    for field in fields:
        if field.name not in read.column_names:
            arrays.append(pyarrow.nulls(len(read), field.type))
            continue
        column = read[field.name]
        _check_texts(column.combine_chunks(), field.name)
        arrays.append(column.cast(field.type))
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


def _check_texts(column: pyarrow.Array, name: str) -> None:
    """See how large texts become when each row has its own copy, before they do."""
    import pyarrow
    from pyarrow import compute

    if isinstance(column, pyarrow.ChunkedArray):
        for chunk in column.chunks:
            _check_texts(chunk, name)
    elif pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type):
        _check_texts(column.flatten(), name)
    elif pyarrow.types.is_struct(column.type):
        for inner in column.flatten():
            _check_texts(inner, name)
    elif pyarrow.types.is_dictionary(column.type):
        lengths = compute.binary_length(column.dictionary).take(column.indices)
        size = compute.sum(lengths.cast(pyarrow.int64())).as_py() or 0
        ARRAY_BYTES.check(size, f"the column {name!r} of a row group is too large: {size:,} bytes")


def concatenated(tables: Sequence[Table]) -> Table:
    """Tables of the same columns as one."""
    import pyarrow

    return pyarrow.concat_tables(tables)


def empty(columns: Collection[str]) -> Table:
    """A table of some columns without rows."""
    import pyarrow

    schema = arrow_schema()
    return pyarrow.schema([schema.field(name) for name in columns]).empty_table()


def as_mask(values: NDArray[np.bool_]) -> pyarrow.Array:
    """Which rows of a table are meant, as Arrow takes it."""
    import pyarrow

    return pyarrow.array(values)
