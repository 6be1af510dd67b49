"""Photos by their paths, and what else a list of paths may hold: folders, tars, lists."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gradsight.files import is_file, is_folder
from gradsight.imaging import SUFFIXES
from gradsight.runs.item import Item, Label
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.source import Given, Source, source_of


def item_of(path: str, label: Label | None = None, here: str | None = None) -> Item:
    """The photo at a path, called by that.

    Args:
        path: as it was given.
        label: of the photo.
        here: the folder that it is relative to; the current one if None.
    """
    # Absolute, since a worker may have another current folder.
    absolute = os.path.join(os.getcwd() if here is None else here, path)
    return Item(readable(path.replace(os.sep, "/")), Path(absolute), place_of(absolute), label)


def held_by(path: str, leave_out: Sequence[str]) -> Source | None:
    """What a path among photos holds, where it is no photo itself: a folder, a tar, a list; None for a photo."""
    if path.lower().endswith(SUFFIXES) and not is_folder(path):
        return None
    return source_of(Given(path, tuple(leave_out))) if is_folder(path) or is_file(path) else None


def found(given: Given) -> Source | None:
    """The photos that a list or tuple of paths names; of several folders each name begins with its folder's."""
    value = given.value
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | os.PathLike) for each in value):
        return None
    paths = [os.fsdecode(each) for each in value]
    # Looked at now, so that a wrong tar or list is told before the model is loaded.
    # Relative paths too, wherever the process is when they are read.
    here = os.getcwd()
    held = {path: source for path in dict.fromkeys(paths) if (source := held_by(path, given.leave_out)) is not None}
    several = sum(map(is_folder, held)) > 1

    def begin() -> Iterator[Item]:
        for path in paths:
            if path not in held:
                yield item_of(path, here=here)
                continue
            prefix = f"{readable(Path(os.path.abspath(path)).name)}/" if several and is_folder(path) else ""
            for item in held[path].begin():
                yield replace(item, key=prefix + item.key) if prefix else item

    lengths = [held[path].length if path in held else 1 for path in paths]
    known = [length for length in lengths if length is not None]
    return Source(f"{len(paths)} paths", begin, sum(known) if len(known) == len(lengths) else None)
