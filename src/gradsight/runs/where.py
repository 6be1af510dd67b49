"""Which rows of a run are meant: by values of columns, by an expression, by a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, InvalidType, one_line, received, unknown
from gradsight.rules import Each, Text
from gradsight.runs import conditions
from gradsight.runs.schema import RunRow, arrow_schema, columns
from gradsight.runs.table import rows_in

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.compute import Expression

ArrowExpression: TypeAlias = Any
"""A ``pyarrow.compute.Expression``: pyarrow has no types, and a user's checker must not call ours unknown for that."""

Test: TypeAlias = str | ArrowExpression | Callable[[RunRow], bool]
"""What may be asked of a row."""

HEAVY = ("map", "features")
"""Columns that hold most of a run's bytes, and that are read only where they are asked for."""


@dataclass(frozen=True)
class Condition:
    """One thing that is asked of rows.

    Attributes:
        columns: that it looks at.
        mask: from a table with these to whether each row is meant, (rows,).
    """

    columns: tuple[str, ...]
    mask: Callable[[pyarrow.Table], NDArray[np.bool_]]


class Where:
    """All that is asked of rows; each condition must hold.

    Args:
        asked: what is asked, as it was given; a pair is a column and what it must be. None for every row.

    Raises:
        InvalidArgument: a text that is no condition.
        InvalidType: another thing than these.
        UnknownName: there is no such column.
    """

    def __init__(self, asked: tuple[Test | tuple[str, object], ...] = ()) -> None:
        self._asked = asked
        # Now, and not when rows are read: the mistake would be told far from where it was made.
        self._conditions = tuple(map(_condition, asked))

    def __reduce__(self) -> tuple[type[Where], tuple[object]]:
        return Where, (self._asked,)  # what is asked can be pickled, and the functions made of it cannot

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(dict.fromkeys(name for condition in self._conditions for name in condition.columns))

    def mask(self, table: pyarrow.Table) -> NDArray[np.bool_]:
        """Whether each row of a table is meant."""
        # Each alone: a condition that cannot be told of a row does not hold there.
        found = np.ones(len(table), bool)
        for condition in self._conditions:
            found &= condition.mask(table)
        return found

    def also(self, test: Test | None, values: Mapping[str, object]) -> Where:
        """The same, and more.

        Args:
            test: a text such as ``"label != prediction_label"``, an expression of PyArrow, or a function of a `RunRow`.
            values: by column, what it must be.
        """
        return Where((*self._asked, *([] if test is None else [test]), *values.items()))


_MANY = 1000
"""Fewer columns than that are asked for."""


def checked(names: object) -> tuple[str, ...]:
    """Names of columns that there are.

    Raises:
        InvalidArgument: they are no list of texts.
        UnknownName: there is none of a name.
    """
    found = taken("columns", names, Each(Text(), range(1, _MANY)), "Pass ['key', 'score'].")
    for name in found:
        if name not in columns():
            raise unknown("column", name, columns())
    return tuple(dict.fromkeys(found))


def _condition(test: Test | tuple[str, object]) -> Condition:
    from pyarrow.compute import Expression

    if isinstance(test, tuple):
        return _equal(*test)
    if isinstance(test, str):
        names, found = conditions.read(test, {field.name: field.type for field in arrow_schema()})
        return Condition(names, found)
    if isinstance(test, Expression):
        # An expression does not tell its columns.
        return Condition(tuple(name for name in columns() if name not in HEAVY), lambda table: _chosen(table, test))
    if callable(test):
        return Condition(columns(), lambda table: np.array([bool(test(row)) for row in rows_in(table)], bool))
    raise InvalidType(
        f'`where` must be a text such as "label != prediction_label", an expression of PyArrow, or a function of a row.'
        f" {received(test)}"
    )


def _chosen(table: pyarrow.Table, expression: Expression) -> NDArray[np.bool_]:
    import pyarrow

    numbered = table.append_column("", pyarrow.array(np.arange(len(table))))
    found = np.zeros(len(table), bool)
    try:
        # A table is filtered by it, and gives no mask: what is left tells by its number which rows these are.
        found[numbered.filter(expression)[""].to_numpy()] = True
    except (pyarrow.ArrowException, KeyError, TypeError) as error:
        raise InvalidArgument(f"`where` does not fit the rows of a run: {one_line(error)}.") from error
    return found


def _equal(name: str, value: object) -> Condition:
    checked([name])
    # The same as in words, so that None, lists and columns of lists mean the same in both.
    wanted: Any = tuple(value) if isinstance(value, list | set | frozenset | tuple) else value
    kind = arrow_schema().field(name).type
    return Condition((name,), conditions.equal(name, kind, wanted))
