"""One photo, by its path."""

from __future__ import annotations

import os

from gradsight.files import is_file
from gradsight.imaging import SUFFIXES
from gradsight.runs.sources.paths import item_of
from gradsight.runs.sources.source import Given, Source


def found(given: Given) -> Source | None:
    """A photo, if the path of one is given."""
    if not isinstance(given.value, str | os.PathLike):
        return None
    text = os.fsdecode(given.value)
    if not text.lower().endswith(SUFFIXES) or not is_file(text):
        return None
    folder, name = os.path.split(os.path.abspath(text))
    return Source(os.path.join(folder, name), lambda: iter([item_of(name, here=folder)]), 1)
