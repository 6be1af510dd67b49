"""Photos that Python gives one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradsight.photos import Photo
from gradsight.runs.item import Item
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.source import Given, Source


def found(given: Given) -> Source | None:
    """Any iterable of photos."""
    value = given.value
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        return None
    length = len(value) if isinstance(value, list | tuple) else None

    def begin() -> Iterator[Item]:
        for number, each in enumerate(value):
            yield _item(each, number)

    kind = type(value).__qualname__
    return Source(kind if length is None else f"{kind} of {length}", begin, length, not isinstance(value, Iterator))


def _item(value: object, number: int) -> Item:
    if isinstance(value, Item):
        return value
    if isinstance(value, Photo):
        place = place_of(os.path.abspath(value.source)) if isinstance(value.source, Path) else None
        return Item(readable(value.name), value.source, place)
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(value)
        path = os.path.abspath(text)
        return Item(readable(text), Path(path), place_of(path))
    return Item(str(number), value)  # type: ignore[arg-type]
