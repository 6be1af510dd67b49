"""The label of a photo, in the forms that files and data sets have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from gradsight.foreign import Json
from gradsight.runs.item import Label
from gradsight.runs.places import readable
from gradsight.runs.sources.columns import LABEL, field_of
from gradsight.values import array_in, number_in

_LONGEST = 200
"""Of a label in letters: a longer text is a caption."""

Names: TypeAlias = Sequence[str] | None
"""Of a data set's classes, in the order of their numbers."""


def label_of(value: object, names: Names = None) -> Label | None:
    """A label: a name, or the index of a class; None for what is neither.

    The number of a class is replaced by its name where the data set says it: its classes need not be the model's.

    Args:
        value: a text, a number of any framework, or a row with a single 1 among zeros.
        names: of the data set's classes.

    >>> label_of("cat"), label_of(" 17 "), label_of(np.array([0, 0, 1.0])), label_of(1, ["cat", "dog"]), label_of(0.5)
    ('cat', 17, 2, 'dog', None)
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _of_text(value)
    index = _index(value)
    if index is None or not names:
        return index
    return str(names[index]) if 0 <= index < len(names) else index


def label_in(member: bytes, kind: str) -> Label | None:
    """The label in a file beside a photo.

    Args:
        member: the bytes of the file.
        kind: the ending of its name: ``"json"`` for an object of JSON with a label, or JSON of the label alone; else
            it is a text.
    """
    text = member.decode("utf-8-sig", "replace")
    if kind != "json":
        # Of a caption no line is a label.
        return label_of(text) if "\n" not in text.strip() else None
    try:
        content: Json = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested too deep for Python
        return None
    return label_of(field_of(content, LABEL) if isinstance(content, Mapping) else content)


def _of_text(text: str) -> Label | None:
    text = readable(text.strip())
    if not text or len(text) > _LONGEST:
        return None
    # The index of a class; of more digits than any model has classes it is a name.
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else text


def _index(value: object) -> int | None:
    number = number_in(value)
    if isinstance(number, bool):
        return None
    if isinstance(number, int | np.integer):
        return int(number) if number >= 0 else None  # -1 stands for "unknown"
    if isinstance(number, float | np.floating):
        return int(number) if number >= 0 and float(number).is_integer() else None
    row = array_in(value) if value is not None else None
    if row is None or row.ndim != 1 or row.dtype.kind not in "biuf" or len(row) < 2:
        return None
    # One of many: a single 1 among zeros, and not several labels.
    ones = np.flatnonzero(row)
    return int(ones[0]) if len(ones) == 1 and row[ones[0]] == 1 else None
