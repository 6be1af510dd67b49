"""Targets as plain values, which JSON can hold, and back."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.targets.boxes import Box
from gradsight.targets.classes import Classes, Top
from gradsight.targets.combined import Against, Contrast, Several, Sum
from gradsight.targets.labels import plain
from gradsight.targets.pixels import Pixels
from gradsight.targets.similarity import Similarity
from gradsight.targets.tokens import Token
from gradsight.targets.within import Within

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What JSON can hold."""

_KINDS = {
    kind.__name__: kind
    for kind in (Against, Box, Classes, Contrast, Pixels, Several, Similarity, Sum, Token, Top, Within)
}
_KIND = "kind"
"""The key that says which of them a dict is."""

_MANY = {"Classes": "which", "Several": "targets", "Sum": "targets"}
"""The field of those that are made from any number of arguments."""


def to_plain(target: object) -> Plain:
    """A target, or a list with one for each image, as plain values.

    >>> from gradsight import Against, Top
    >>> from gradsight.targets.plain import to_plain
    >>> to_plain(Against("tabby"))
    {'kind': 'Against', 'target': 'tabby'}

    Raises:
        InvalidType: it is a function, or holds a picture that has no path: no plain value says these.
    """
    value = plain(target)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    kind = type(value).__name__
    if type(value) is not _KINDS.get(kind):
        raise InvalidType(
            "a target is written as plain values where it is one of gradsight's own, and holds no function and no "
            f"picture but by its path. {received(value)} Pickle it, or pass `targets=` again where it is read."
        )
    return {_KIND: kind, **_fields_of(value)}


def from_plain(value: Plain) -> object:
    """The target that `to_plain` made these values of.

    Raises:
        InvalidArgument: it made no such values.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None or not value.keys() - {_KIND} <= {field.name for field in fields(known)}:
        raise InvalidArgument(f"`value` must be what to_plain gives of a target. {received(value)}")
    made = {name: from_plain(item) for name, item in value.items() if name != _KIND}
    many = made.pop(_MANY[known.__name__], []) if known.__name__ in _MANY else []
    try:
        return known(*many, **made)  # type: ignore[arg-type, misc]
    except InvalidType:  # a TypeError too, which says what is wrong
        raise
    except TypeError as error:  # one without what it needs, or no list where there are many
        raise InvalidArgument(f"`value` must be what to_plain gives of a target. {received(value)}") from error


def _fields_of(target: object) -> dict[str, Plain]:
    given = {field.name: getattr(target, field.name) for field in fields(target)}  # type: ignore[arg-type]
    return {name: _value(value) for name, value in given.items() if value is not None}


def _value(value: object) -> Plain:
    """A field of a target: another target, numbers, a text, or the path of a picture."""
    if isinstance(value, np.ndarray):
        return value.tolist()  # type: ignore[no-any-return]
    if isinstance(value, Path):
        return os.fspath(value)
    return to_plain(value)
