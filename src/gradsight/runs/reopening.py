"""Photos of a run found again, where they came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gradsight.errors import ImageError
from gradsight.recent import Recent
from gradsight.runs import tars
from gradsight.runs.places import place_in
from gradsight.runs.sources.parquet import picture_in
from gradsight.runs.sources.shards import members_of

_MOST = 100_000
"""Pictures of a tar whose places are remembered: some 30 MB."""

_Known = Mapping[str, tars.Member]

_known: Recent[tuple[str, int, int], _Known] = Recent(4)
"""Of a tar, as it was then: a sheet of a hundred photos would go through its headers a hundred times."""


def reopened(place: str) -> Path | bytes:
    """What the text in `Item.path` means, to be read again: a path, or the bytes of a picture in a tar or a table.

    Raises:
        GradsightError: the tar or table is not there any more, is damaged, or does not hold the picture.
    """
    path, name = place_in(place)
    if name is None:
        return path
    if not path.name.lower().endswith(tars.SUFFIXES):
        # A run may be a stranger's, and its places whatever text he wrote.
        return picture_in(path, int(name) if name.isdecimal() and len(name) < 19 else 0)
    member = _member(path, name)
    if member is None:
        raise ImageError(f"{str(path)!r} has no picture {name!r} any more. Was the tar replaced?")
    with tars.reading(path) as tar:
        return tar.content(member)


def _member(path: Path, name: str) -> tars.Member | None:
    # A tar that was replaced has other places.
    try:
        status = os.stat(path)
    except OSError as error:
        raise ImageError(f"There is no tar {str(path)!r} any more ({error.strerror}).") from None
    members = _known.of((str(path), status.st_mtime_ns, status.st_size), lambda: _first_members(path))
    if name in members or len(members) < _MOST:
        return members.get(name)
    return next((member for own, member in members_of(path) if own == name), None)


def _first_members(path: Path) -> _Known:
    members: dict[str, tars.Member] = {}
    # What lies before some damage can be read.
    with suppress(ImageError):
        members.update(islice(members_of(path), _MOST))
    return members
