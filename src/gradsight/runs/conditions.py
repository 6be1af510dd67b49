"""Conditions in words, ``"label != prediction_label and score > 3"``: parsed, and never run as Python."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import GradsightError, InvalidArgument, one_line, received, unknown
from gradsight.runs.table import is_list

if TYPE_CHECKING:
    import pyarrow

Mask: TypeAlias = "Callable[[pyarrow.Table], NDArray[np.bool_]]"
"""From a table to whether each row is meant."""

_Value: TypeAlias = "Callable[[pyarrow.Table], pyarrow.Array]"
"""From a table to a column of it, a mask or one value."""

_COMPARED = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
"""What PyArrow calls each comparison."""

_EXAMPLES = '"label != prediction_label", "score > 3 and method == \'gradcam\'" or "\'zero_map\' in notes"'


def read(text: str, kinds: Mapping[str, pyarrow.DataType]) -> tuple[tuple[str, ...], Mask]:
    """A condition from its words: names of columns, numbers and texts, compared and joined by and, or, not.

    Args:
        text: the words.
        kinds: the type of each column.

    Returns:
        The columns that it looks at, and what tells the rows. A row where a value is missing is not meant, but by
        ``is None``.

    Raises:
        InvalidArgument: these are no such words, or they compare what cannot be compared.
        UnknownName: there is no such column.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        reader = _Reader(kinds)
        made = reader.truth(tree)
    except GradsightError:
        raise
    # What Python cannot parse, in whatever way, is the same mistake to a user.
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise _wrong(text, "") from error
    return tuple(reader.columns), _mask(made, text)


def equal(name: str, kind: pyarrow.DataType, value: object) -> Mask:
    """Whether a column is a value: None for one that is missing, a tuple for one of several.

    A column of lists is it where one of its items is.
    """
    return _mask(_is(_column(name), kind, value), f"{name}={value!r}")


def _mask(made: _Value, text: str) -> Mask:
    def found(table: pyarrow.Table) -> NDArray[np.bool_]:
        import pyarrow

        try:
            mask = made(table)
            # Two values that are both written out are compared once, and not for each row.
            if isinstance(mask, bool):
                return np.full(len(table), mask)
            # Where a value is missing nothing is true.
            filled: NDArray[np.bool_] = mask.fill_null(False).to_numpy(zero_copy_only=False)
            return filled
        except (pyarrow.ArrowException, TypeError, AttributeError, OverflowError) as error:
            raise _wrong(text, f" ({one_line(error)})") from error

    return found


def _wrong(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"`where` must be a condition of the columns of a run, such as {_EXAMPLES}{why}. {received(text)}"
    )


class _Reader:
    """Makes functions of a table from a parsed condition, and notes which columns they look at."""

    def __init__(self, kinds: Mapping[str, pyarrow.DataType]) -> None:
        self._kinds = kinds
        self.columns: dict[str, None] = {}

    def truth(self, node: ast.expr) -> _Value:
        """What tells whether each row is meant."""
        if isinstance(node, ast.BoolOp):
            # By Kleene's logic: nobody knows whether "a > 1" holds where a is missing, nor whether its negation does.
            name = "and_kleene" if isinstance(node.op, ast.And) else "or_kleene"
            return _joined(name, [self.truth(value) for value in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _called("invert", self.truth(node.operand))
        if isinstance(node, ast.Compare):
            # Python's own way to write 0 < score < 5.
            ends = [node.left, *node.comparators]
            pairs = zip(node.ops, ends, ends[1:], strict=False)
            return _joined("and_kleene", [self._comparison(op, left, right) for op, left, right in pairs])
        if isinstance(node, ast.Name) and str(self._kind(node)) == "bool":
            return self._named(node)
        raise ValueError("no condition")

    def _comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> _Value:
        if isinstance(op, ast.In | ast.NotIn):
            found = self._within(left, right)
            return _called("invert", found) if isinstance(op, ast.NotIn) else found
        if isinstance(op, ast.Is | ast.IsNot):
            if ast.literal_eval(right) is not None:
                raise ValueError("only None is compared by `is`")
            missing = _called("is_null", self._named(left))
            return _called("invert", missing) if isinstance(op, ast.IsNot) else missing
        return _called(_COMPARED[type(op)], self._operand(left), self._operand(right))

    def _within(self, left: ast.expr, right: ast.expr) -> _Value:
        """``column in (values)``, or ``value in column of lists``."""
        if isinstance(right, ast.Name):
            return _is(self._named(right), self._kind(right), ast.literal_eval(left))
        return _is(self._named(left), self._kind(left), tuple(ast.literal_eval(right)))

    def _operand(self, node: ast.expr) -> _Value:
        if isinstance(node, ast.Name):
            return self._named(node)
        value = ast.literal_eval(node)
        if not isinstance(value, str | int | float):
            raise ValueError("neither a text nor a number")
        return lambda _: value

    def _named(self, node: ast.expr) -> _Value:
        self._kind(node)
        assert isinstance(node, ast.Name)
        self.columns[node.id] = None
        return _column(node.id)

    def _kind(self, node: ast.expr) -> pyarrow.DataType:
        if not isinstance(node, ast.Name):
            raise ValueError("no column")
        if node.id not in self._kinds:
            raise unknown("column", node.id, self._kinds)
        return self._kinds[node.id]


def _column(name: str) -> _Value:
    return lambda table: table[name].combine_chunks()


def _called(name: str, *operands: _Value) -> _Value:
    def made(table: pyarrow.Table) -> pyarrow.Array:
        from pyarrow import compute

        return getattr(compute, name)(*(operand(table) for operand in operands))

    return made


def _joined(name: str, values: list[_Value]) -> _Value:
    made = values[0]
    for value in values[1:]:
        made = _called(name, made, value)
    return made


def _is(column: _Value, kind: pyarrow.DataType, value: object) -> _Value:
    """Whether a column is a value, or one of several; a column of lists where one of its items is."""
    listed = is_list(kind)

    def made(table: pyarrow.Table) -> pyarrow.Array:
        import pyarrow
        from pyarrow import compute

        values = column(table)
        # Of nothing Arrow says neither that it is equal to nothing nor that it is not.
        if value is None:
            return compute.is_null(values)
        wanted = pyarrow.array(value if isinstance(value, tuple) else [value], kind.value_type if listed else kind)
        if not listed:
            return compute.is_in(values, wanted)
        # The items of all lists in one array, and the row that each belongs to.
        holders = compute.list_parent_indices(values).filter(compute.is_in(compute.list_flatten(values), wanted))
        return pyarrow.array(np.isin(np.arange(len(values)), holders.to_numpy()))

    return made
