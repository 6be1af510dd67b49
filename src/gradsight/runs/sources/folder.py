"""A folder of photos; the folders in it are the classes of what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gradsight.errors import ImageError
from gradsight.files import is_folder
from gradsight.folders import in_folders
from gradsight.imaging import SUFFIXES
from gradsight.runs.item import Item, Unreadable
from gradsight.runs.packed import Packed
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.source import Given, Source


def found(given: Given) -> Source | None:
    """The photos in a folder and in those below it, if a folder is given."""
    if not isinstance(given.value, str | os.PathLike) or not is_folder(given.value):
        return None
    # Absolute, since a worker may have another current folder.
    root = Path(os.path.abspath(os.fsdecode(given.value)))
    errors: list[ImageError] = []
    names = [
        (folder.relative_to(root).parts, Packed(held))
        for folder, held in in_folders(root, True, given.leave_out, errors)
    ]
    if not names:
        raise ImageError(f"{str(root)!r} is a folder without pictures ({', '.join(SUFFIXES)}).")

    def begin() -> Iterator[Item]:
        for parts, held in names:
            for name in held:
                yield item_in(root, (*parts, name))
        # A folder that cannot be opened is told as a photo that cannot be read is.
        for number, error in enumerate(errors):
            yield Item(f"folder {number + 1} that cannot be opened", Unreadable(str(error)))

    return Source(str(root), begin, sum(len(held) for _, held in names) + len(errors))


def item_in(root: Path, parts: tuple[str, ...]) -> Item:
    """A photo in a folder, called by the parts of its path there; the first of several is its label."""
    path = os.path.join(root, *parts)
    # The first folder, as `gradsight evaluate` and torchvision's ImageFolder have it.
    label = readable(parts[0]) if len(parts) > 1 else None
    return Item(readable("/".join(parts)), Path(path), place_of(path), label)
