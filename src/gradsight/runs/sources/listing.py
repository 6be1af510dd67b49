"""What lists of photos share: lines of bounded length, paths relative to the list, and what tells of a broken line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gradsight.errors import InvalidArgument
from gradsight.files import is_file, opened
from gradsight.imaging import SUFFIXES
from gradsight.runs.item import Item, Label, Unreadable
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.columns import PATH, name_in
from gradsight.runs.sources.source import Given

_LONGEST = 1 << 20
"""Of a line in bytes: a file without ends of lines must not fill the memory."""

_CHUNK = 1 << 16

_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""How a text in UTF-16 begins, which PowerShell writes."""


def list_of(given: Given, suffixes: Sequence[str]) -> Path | None:
    """The list that was given; None where it is none with such an ending."""
    if not isinstance(given.value, str | os.PathLike):
        return None
    path = os.path.abspath(os.fsdecode(given.value))
    return Path(path) if path.lower().endswith(tuple(suffixes)) and is_file(path) else None


def lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """The lines of a text with their numbers and their ends; None for one that is too long.

    Bytes that are not in UTF-8 are kept as Python keeps them in names of files.

    Raises:
        InvalidArgument: there is no such file, or it is a text in UTF-16.
    """
    return _numbered(path, _lines)


def parted(path: Path) -> Iterator[tuple[int, str | None]]:
    """As `lines`, of a text whose lines null characters part: names may hold any other character."""
    return _numbered(path, _parted)


def is_parted(path: Path) -> bool:
    """Whether null characters part the lines of a text, as ``find -print0`` writes them."""
    with opened(path, "a list of photos") as file:
        first = file.read(_CHUNK)
    # Half of the characters of a text in UTF-16 are null.
    return b"\0" in first and not first.startswith(_WIDE)


def _numbered(path: Path, cut: Callable[[BinaryIO], Iterator[bytes | None]]) -> Iterator[tuple[int, str | None]]:
    with opened(path, "a list of photos") as file:
        first = file.read(3)
        if first.startswith(_WIDE):
            raise InvalidArgument(f"{str(path)!r} must be a text in UTF-8, and is one in UTF-16. Save it as UTF-8.")
        file.seek(3 if first == b"\xef\xbb\xbf" else 0)
        for number, line in enumerate(cut(file), start=1):
            yield number, None if line is None else line.decode("utf-8", "surrogateescape")


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    while line := file.readline(_LONGEST):
        if line.endswith(b"\n") or len(line) < _LONGEST:
            yield line
            continue
        while (line := file.readline(_LONGEST)) and not line.endswith(b"\n"):
            pass
        yield None


def _parted(file: BinaryIO) -> Iterator[bytes | None]:
    rest, long = b"", False
    while chunk := file.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        for piece in whole:
            yield None if long else piece
            long = False
        if len(rest) > _LONGEST:
            rest, long = b"", True
    if rest or long:
        yield None if long else rest


def item_at(listed: Path, where: str, path: str, label: Label | None = None) -> Item:
    """The photo at a path of a list, relative to the list where it is not absolute.

    Args:
        listed: the list.
        where: such as ``"line 7"``.
        path: as the list has it.
        label: of the photo.
    """
    if not path.strip():
        return broken(listed, where, "its path is missing")
    if "\0" in path:
        return broken(listed, where, "its path holds a null character")
    absolute = str(listed.parent / path)
    return Item(readable(path.replace(os.sep, "/")), Path(absolute), place_of(absolute), label)


def broken(listed: Path, where: str, why: str) -> Item:
    """What tells of a line that names no photo: a photo that fails."""
    name = readable(listed.name)
    return Item(f"{name}, {where}", Unreadable(f"{str(listed)!r}, {where}: {why}."))


def path_column(columns: Sequence[str]) -> str | None:
    """The column of paths."""
    return name_in(columns, PATH)


def is_picture(text: str) -> bool:
    """Whether a text ends as the name of a picture does."""
    return text.lower().endswith(SUFFIXES)
