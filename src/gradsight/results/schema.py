"""Frozen dataclasses as plain values and back, and as the columns of a table: all from the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from gradsight.errors import InvalidArgument, MissingDependency, received
from gradsight.results.note import Note

if TYPE_CHECKING:
    import pyarrow
    from _typeshed import DataclassInstance

_Made = TypeVar("_Made", bound="DataclassInstance")

Column: TypeAlias = "str | list[Column] | dict[str, Column]"
"""The type of a column: a name, a list with the type of its items, or columns in a column."""

_NAMES = {bool: "bool", int: "int64", float: "float64", str: "string", bytes: "binary"}

Single: TypeAlias = Annotated[float, "float"]
"""A float that a table keeps in 32 bits."""

Small: TypeAlias = Annotated[int, "int32"]
"""A whole number that a table keeps in 32 bits."""

_HIDDEN: Mapping[type, set[str]] = {Note: {"in_shell"}}
"""Fields that belong to one way of showing a value, and are not written."""


def to_plain(value: DataclassInstance) -> dict[str, Any]:
    """A dataclass as a dict of plain values, with its fields in the order in which they are declared."""
    return {each.name: _plain(getattr(value, each.name)) for each in _written(type(value))}


def from_plain(kind: type[_Made], plain: object, name: str, version: int) -> _Made:
    """A dataclass from what `to_plain` made of it.

    Args:
        kind: the class.
        plain: a dict; fields that the class does not know are left out, so that newer writers can add some.
        name: what to call it in errors.
        version: the newest ``version`` that can be read.

    Raises:
        InvalidArgument: a field is missing or of another type, or ``plain`` is of a newer version.
    """
    if isinstance(plain, Mapping):
        # Asked before anything else: a newer record may lack a field, and then the version is what is wrong.
        found = plain.get("version", version)
        if not isinstance(found, int) or found > version:
            raise InvalidArgument(f"{name} must be of version {version} or older. {received(found)} Update gradsight.")
    made = _made(kind, plain, name)
    assert isinstance(made, kind)
    return made


def columns(kind: type[DataclassInstance]) -> dict[str, Column]:
    """The columns of a table of such values, in order: each with its type, as Arrow calls it."""
    # Annotations are texts in these modules; this gives the types themselves.
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: _column(hints[each.name]) for each in _written(kind)}


def arrow(kind: type[DataclassInstance], metadata: Mapping[str, str]) -> pyarrow.Schema:
    """`columns` as a schema of Arrow.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency("Arrow's schema needs pyarrow. Install it: pip install pyarrow.") from error

    def typed(column: Column) -> pyarrow.DataType:
        if isinstance(column, str):
            return pyarrow.type_for_alias(column)
        if isinstance(column, list):
            return pyarrow.list_(typed(column[0]))
        return pyarrow.struct([pyarrow.field(name, typed(inner)) for name, inner in column.items()])

    # Every column may be empty: Arrow's own default, and true of most of them.
    found = [pyarrow.field(name, typed(column)) for name, column in columns(kind).items()]
    return pyarrow.schema(found, metadata=dict(metadata))


def _written(kind: type[DataclassInstance]) -> list[Field[object]]:
    """The fields that are written."""
    hidden = _HIDDEN.get(kind, set())
    return [each for each in fields(kind) if each.name not in hidden]


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _made(kind: object, value: object, name: str) -> object:
    """A plain value as what a type says."""
    one, optional = _without_none(kind)
    if value is None and optional:
        return None
    if is_dataclass(one) and isinstance(value, Mapping):
        return _made_of_fields(one, value, name)
    if get_origin(one) is tuple and isinstance(value, list | tuple):
        return tuple(_made(get_args(one)[0], inner, f"{name}[{i}]") for i, inner in enumerate(value))
    if get_origin(one) is Mapping and isinstance(value, Mapping):
        return dict(value)
    # JSON has one kind of number, and 1.0 may come back as 1.
    if one is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # Not isinstance: True is an int to Python, and no number here.
    if type(value) is one:
        return value
    raise InvalidArgument(f"{name} must be {_words(one)}{' or None' if optional else ''}. {received(value)}")


def _made_of_fields(kind: type[DataclassInstance], value: Mapping[str, object], name: str) -> object:
    hints, found = get_type_hints(kind), {}
    for each in _written(kind):
        # Names that are not fields are passed over, so that an older gradsight reads what a newer one adds.
        if each.name in value:
            found[each.name] = _made(hints[each.name], value[each.name], f"{name}: {each.name}")
        elif each.default is MISSING:
            raise InvalidArgument(f"{name} must have {each.name!r}, which is missing.")
    return kind(**found)


def _column(kind: object) -> Column:
    one, _ = _without_none(kind)
    if get_origin(one) is Annotated:  # with the type that a table has for it
        return str(get_args(one)[1])
    if is_dataclass(one):
        return columns(one)
    if get_origin(one) is tuple:
        return [_column(get_args(one)[0])]
    if get_origin(one) is Mapping:  # its keys differ from record to record: JSON in a column of texts
        return "string"
    return _NAMES[one]


def _without_none(kind: Any) -> tuple[type, bool]:
    """A type, and whether None is allowed beside it."""
    # With `Annotated` in it Python makes the older kind of union.
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    # Fields are of one type or None, never of several: a column of a table has one type.
    (one,) = (each for each in get_args(kind) if each is not NoneType)
    return one, True


def _words(kind: type) -> str:
    names = {bool: "a truth value", int: "a whole number", float: "a number", str: "a text", bytes: "bytes"}
    if get_origin(kind) is tuple:
        return "a list"
    return names.get(kind, "an object")
