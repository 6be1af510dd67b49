"""Rows of a run as a table of Arrow, and a table as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradsight.errors import InvalidArgument, one_line
from gradsight.runs.digests import as_text
from gradsight.runs.schema import RunRow, arrow_schema
from gradsight.targets import Prediction

if TYPE_CHECKING:
    import pyarrow


def table_of(rows: Sequence[RunRow]) -> pyarrow.Table:
    """Rows as a table with the columns of `arrow_schema`."""
    import pyarrow

    schema = arrow_schema()
    columns = [_column([getattr(row, field.name) for row in rows], field.type) for field in schema]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    if not is_list(kind):
        if kind == pyarrow.string():
            # A name of a file may hold what is no text.
            values = [value if value is None or value.isascii() else as_text(value) for value in values]
        return pyarrow.array(values, kind)
    # All items in one array, and where each list ends: many times as quick as list by list.
    ends = np.cumsum([0 if value is None else len(value) for value in values], dtype=np.int32)
    items = [item for value in values if value is not None for item in value]
    missing = [value is None for value in values]
    return pyarrow.ListArray.from_arrays(
        pyarrow.array(np.append(np.int32(0), ends), pyarrow.int32()),
        _items(items, kind.value_type),
        mask=pyarrow.array(missing) if any(missing) else None,
    ).cast(kind)


def _items(items: list[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    # Columns within a column are made as those of the table are.
    import pyarrow

    fields = fields_of(kind)
    if not fields:
        return _column(items, kind)
    inner = [_column([getattr(item, field.name) for item in items], field.type) for field in fields]
    return pyarrow.StructArray.from_arrays(inner, fields=fields)


def is_list(kind: pyarrow.DataType) -> bool:
    """Whether a column holds lists."""
    import pyarrow

    return bool(pyarrow.types.is_list(kind))


def fields_of(kind: pyarrow.DataType) -> list[pyarrow.Field]:
    """The columns within a column; none of most."""
    import pyarrow

    return [kind.field(i) for i in range(kind.num_fields)] if pyarrow.types.is_struct(kind) else []


def rows_in(table: pyarrow.Table) -> list[RunRow]:
    """The rows of a table that has the columns of `arrow_schema`.

    Raises:
        InvalidArgument: a value is missing where there is always one.
    """
    try:
        return [_row(values) for values in table.to_pylist()]
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the rows of a run cannot be read: {one_line(error)}. Get the run again.") from error


_ALWAYS = ("key", "status")


def _row(values: dict[str, Any]) -> RunRow:
    # What is not there has its default: None, or an empty tuple.
    found = {name: _read(name, value) for name, value in values.items() if value is not None}
    for name in _ALWAYS:
        if name not in found:
            raise ValueError(f"a row has no {name}")
    return RunRow(**found)


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    # The types are those of the columns; what can still be wrong is a hole.
    if None in value or (name == "top" and any(None in item.values() for item in value)):
        raise ValueError(f"{name} lacks an item")
    return tuple(Prediction(**item) for item in value) if name == "top" else tuple(value)
