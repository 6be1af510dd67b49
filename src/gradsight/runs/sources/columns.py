"""What columns and fields of tables and data sets are usually called, the most usual first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

LABEL = ("label", "labels", "class", "class_name", "category", "target", "fine_label", "cls", "y")

PATH = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img_path", "photo", "image"),
    *("img", "picture", "imageid", "image_id"),
)

PICTURE = (
    *("image", "img", "photo", "picture", "bytes", "image_bytes", "content", "data", "pixel_values", "x"),
    *("jpg", "jpeg", "png", "webp", "pil"),
)

KEY = ("key", "__key__", "id", "image_id", "name")

Value = TypeVar("Value")


def field_of(row: Mapping[str, Value], names: Sequence[str]) -> Value | None:
    """The first field of a row that has one of these names, in whatever case; None if there is none."""
    found = name_in(list(row), names)
    return None if found is None else row[found]


def name_in(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column that is called by the first of these names that there is, in whatever case."""
    places = {column.strip().lower(): column for column in reversed(columns) if isinstance(column, str)}
    return next((places[name] for name in names if name in places), None)
