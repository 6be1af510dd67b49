"""Checks of what was read from a file: the value has the right kind, or an error says what is wrong.

A file is damaged, or written by a stranger: everything in it is looked at once, before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, one_line, received
from gradsight.files import read_text
from gradsight.foreign import Json
from gradsight.rules import Number, Text, Whole

_LONGEST = 100_000
"""A text has at most so many letters: drawing a longer one would take minutes."""

_LARGEST = 2**53
"""The largest whole number that is taken: up to here floats are exact."""


def json_object(path: Path, what: str, way_out: str) -> Mapping[str, Json]:
    """The JSON object that a file of a user's holds.

    Args:
        path: the file.
        what: it should be, such as ``"COCO's JSON"``.
        way_out: the end of the error: what the file must hold.

    Raises:
        InvalidArgument: there is no such file, it is too large, or it is no object of JSON.
    """
    try:
        content = json.loads(read_text(path, what))
    except InvalidArgument:
        raise
    except (ValueError, RecursionError) as error:  # nested too deep for Python to read
        raise InvalidArgument(f"{str(path)!r} must be valid JSON: {one_line(error)}. {way_out}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"{str(path)!r} must be an object of JSON. {received(content)} {way_out}")
    return content


def fields(value: object, name: str, needed: Collection[str], others: Collection[str] = ()) -> Mapping[str, Any]:
    """A JSON object with the keys ``needed``, and perhaps some of ``others``."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, and is {_kind(value)}")
    for key in needed:
        if key not in value:
            raise ValueError(f"{name} must have {key!r}, which is missing")
    # What is not known is refused: it may be meant for a later version, and left out it would be lost silently.
    for key in value:
        if key not in needed and key not in others:
            raise ValueError(f"{name} has {key[:80]!r}, which means nothing here")
    return value


def rows(value: object, name: str, *counts: int) -> list[Any]:
    """A JSON list with one of the lengths ``counts``, or of any length if there are none."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, and is {_kind(value)}")
    if counts and len(value) not in counts:
        raise ValueError(f"{name} must have {' or '.join(map(str, counts))} items, and has {len(value)}")
    return value


def text(value: object, name: str) -> str:
    """A text."""
    read = taken(name, value, Text())
    if len(read) > _LONGEST:
        raise ValueError(f"{name} has {len(read)} letters, over the {_LONGEST} that are taken")
    return read


def texts(value: object, name: str, *counts: int) -> tuple[str, ...]:
    """Texts in a list, so many of them."""
    return tuple(text(item, name) for item in rows(value, name, *counts))


def whole(value: object, name: str, least: int = 0) -> int:
    """A whole number of at least ``least`` that a float can hold exactly."""
    return taken(name, value, Whole(least, _LARGEST))


def number(value: object, name: str) -> float:
    """A number, or NaN or infinity."""
    return value if isinstance(value, float) else taken(name, value, Number())


def floats(arrays: Mapping[str, NDArray[Any]], name: str, shape: Sequence[int | None]) -> NDArray[Any]:
    """As `array`, of floats. They may be NaN or infinite, since a model may give such values."""
    return array(arrays, name, shape, "f")


def array(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: Sequence[int | None] | None, kinds: str
) -> NDArray[Any]:
    """An array with these lengths of its axes (None: any but 0), of a kind of numbers, in this machine's byte order."""
    if name not in arrays:
        raise ValueError(f"the array `{name}` is missing")
    values = arrays[name]
    if values.dtype.kind not in kinds or not _LEAST[kinds] <= values.dtype.itemsize <= _MOST[kinds]:
        raise ValueError(f"`{name}` must hold {_NUMBERS[kinds]}, and holds {values.dtype}")
    if shape is not None and not _fits(values.shape, shape):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"`{name}` must have the shape ({wanted}), and has {values.shape}")
    # Files keep the byte order of the machine that wrote them.
    return values.astype(values.dtype.newbyteorder("="), copy=False)


_NUMBERS = {"f": "floats of 32 or 64 bits", "iu": "whole numbers", "u": "bytes"}
_LEAST, _MOST = {"f": 4, "iu": 1, "u": 1}, {"f": 8, "iu": 8, "u": 1}


def _fits(have: Sequence[int], want: Sequence[int | None]) -> bool:
    return len(have) == len(want) and all(x > 0 if y is None else x == y for x, y in zip(have, want, strict=True))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"of type {type(value).__name__}"
