"""A text with the path of a photo in each line, and perhaps its label behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gradsight.errors import ImageError
from gradsight.runs.item import Item, Label
from gradsight.runs.sources.labels import label_of
from gradsight.runs.sources.listing import broken, is_parted, is_picture, item_at, lines, list_of, parted
from gradsight.runs.sources.source import Given, Source

SUFFIXES = (".txt", ".lst", ".list")

_TOO_LONG = "it is too long for a path"


def found(given: Given) -> Source | None:
    """The photos that a text lists, if one is given.

    A line is a path, or a path, a tab and a label, or, as ImageNet's lists are, ``"a.jpg 17"``: a label is behind a
    space only where the line itself does not end as the name of a picture does, and what is before the space does.
    Lines that null characters part hold paths alone.
    """
    path = list_of(given, SUFFIXES)
    if path is None:
        return None
    begin = _of_names if is_parted(path) else _of_lines
    # Gone through once more than needed, so that a progress can tell what is left.
    length = sum(1 for _ in _filled(parted(path) if begin is _of_names else lines(path)))
    if not length:
        raise ImageError(f"{str(path)!r} lists no photo. Give one path in each line.")
    return Source(str(path), lambda: begin(path), length)


def _of_names(path: Path) -> Iterator[Item]:
    for number, name in _filled(parted(path)):
        where = f"entry {number}"
        yield broken(path, where, _TOO_LONG) if name is None else item_at(path, where, name)


def _of_lines(path: Path) -> Iterator[Item]:
    for number, line in _filled(lines(path)):
        where = f"line {number}"
        if line is None:
            yield broken(path, where, _TOO_LONG)
        else:
            photo, label = _split(line.removesuffix("\n").removesuffix("\r"))
            yield item_at(path, where, photo, label)


def _filled(found: Iterable[tuple[int, str | None]]) -> Iterator[tuple[int, str | None]]:
    """Without empty lines."""
    return ((number, line) for number, line in found if line is None or line.strip())


def _split(line: str) -> tuple[str, Label | None]:
    """The path and the label in a line."""
    photo, tab, label = line.rpartition("\t")
    if tab:
        return photo, label_of(label)
    photo, space, label = line.rpartition(" ")
    if space and not is_picture(line) and is_picture(photo.rstrip()):
        return photo.rstrip(), label_of(label)
    return line, None
