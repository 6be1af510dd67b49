"""Parts of a run read again, some columns of some rows at a time, whatever version wrote them, and whoever did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, one_line
from gradsight.files import entries, opened
from gradsight.runs import claims
from gradsight.runs.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

Table: TypeAlias = "pyarrow.Table"

FOLDER = "rows"
"""Of the parts in a run."""

SUFFIX = ".parquet"


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
        # Before the file is opened: without PyArrow there are no errors of its own to catch.
        kinds = _errors()
        try:
            with opened(self.path, "a part of a run") as file:
                yield _parquet_file(file)
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


def _parquet_file(file: BinaryIO) -> parquet.ParquetFile:
    claims.check_types(file)
    module = parquet_module()
    found = module.ParquetFile(file, pre_buffer=False)
    claims.check_version(found.metadata.metadata or {})
    # Texts as they lie in the file, each once with a number for each row: one long text may be said a million times in
    # a file of some bytes, and would fill the memory.
    leaves = [found.schema.column(i) for i in range(len(found.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    file.seek(0)
    # What was read of its end is not read again. Nothing is read ahead: a thread of Arrow's that lets go of a file of
    # Python's while Python ends ends the process with an abort.
    return module.ParquetFile(file, metadata=found.metadata, read_dictionary=texts, pre_buffer=False)


def parquet_module() -> ModuleType:
    """PyArrow's Parquet.

    Raises:
        MissingDependency: PyArrow is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("a run is kept by PyArrow. Install it: pip install 'gradsight[run]'.") from error
    module: ModuleType = parquet
    return module


def _table(file: parquet.ParquetFile, group: int, columns: Collection[str]) -> pyarrow.Table:
    schema, columns = arrow_schema(), tuple(dict.fromkeys(columns))
    claims.check_group(file.metadata.row_group(group))
    # Columns that this version does not know are not read, and those that theirs did not know are empty.
    there = [name for name in columns if name in file.schema_arrow.names]
    read = file.read_row_group(group, columns=there, use_threads=False)
    # Texts that are no UTF-8, numbers that point beside a dictionary: what reads them later would not look.
    read.validate(full=True)
    return _conformed(read, schema, columns)


def _conformed(read: pyarrow.Table, schema: pyarrow.Schema, columns: Collection[str]) -> pyarrow.Table:
    """Columns with the types that rows have now; a column that is not there is empty."""
    import pyarrow

    arrays, fields = [], [schema.field(name) for name in columns]
    for field in fields:
        if field.name not in read.column_names:
            arrays.append(pyarrow.nulls(len(read), field.type))
            continue
        column = read[field.name]
        claims.check_texts(column.combine_chunks(), field.name)
        # Before anything makes values of Python of it: then there are none but of plain types.
        arrays.append(column.cast(field.type))
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


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
