"""One photo, by its path."""

from __future__ import annotations

import os

from gradsight.files import is_file
from gradsight.imaging import SUFFIXES
from gradsight.runs.item import Item
from gradsight.runs.sources.paths import item_of
from gradsight.runs.sources.source import Given, Source


def found(given: Given) -> Source | None:
    """A photo, if the path of one is given."""
    if not isinstance(given.value, str | os.PathLike):
        return None
    text = os.fsdecode(given.value)
    if not text.lower().endswith(SUFFIXES) or not is_file(text):
        return None
    return Source(os.path.abspath(text), lambda: iter([_alone(text)]), 1)


def _alone(text: str) -> Item:
    return item_of(text, os.path.basename(text))
