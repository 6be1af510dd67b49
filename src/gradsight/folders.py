"""What lies in a folder and in those below it, each real folder once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradsight.errors import ImageError
from gradsight.imaging import SUFFIXES

_Identity = tuple[int, int]
"""The device and the number of a folder, which all paths to it share."""


def in_folders(
    root: Path,
    recursive: bool = True,
    leave_out: Iterable[str | os.PathLike[str]] = (),
    errors: list[ImageError] | None = None,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Iterator[tuple[Path, list[str]]]:
    """The names of the files in a folder and, if ``recursive``, in those below.

    Folders that lie higher come first, and names in their order, since each file system has one of its own. What is
    hidden is left out, and of links to folders those that lead to one which was looked into before.

    Args:
        root: the folder.
        recursive: look into the folders below.
        leave_out: folders that are not looked into.
        errors: gets an error for each folder below that cannot be opened.
        suffixes: what the names of files end in, in small letters; an empty text among them takes all.

    Yields:
        Each folder that holds such files, with their names.

    Raises:
        ImageError: the folder itself cannot be opened.
    """
    skipped = {key for path in leave_out if (key := _identity(Path(path))) is not None}
    # Links wait until all real folders are seen: a folder is called by its own path, whatever links to it.
    folders, links, seen = deque([root]), deque[Path](), set[_Identity]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        key = _identity(folder)
        # A folder that was named itself is looked into, even if it is that of the results.
        if key is None or key in seen or (key in skipped and folder != root):
            continue
        seen.add(key)
        try:
            names, below, linked = _listing(folder, suffixes)
        except OSError as error:
            failed = ImageError(f"{str(folder)!r} cannot be opened: {error.strerror}.")
            # The folder that was named must open; one below it costs only its own photos.
            if folder == root or errors is None:
                raise failed from error
            errors.append(failed)
            continue
        if names:
            yield folder, names
        if recursive:
            folders.extend(folder / name for name in below)
            links.extend(folder / name for name in linked)


def _listing(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """The names of the files, the folders and the links to folders in a folder."""
    files, folders, links = [], [], []
    with os.scandir(folder) as found:
        for entry in found:
            # What is hidden is not meant: systems keep previews there.
            if entry.name.startswith("."):
                continue
            # What the listing itself says costs no look at each file; of a link in a circle it raises.
            if entry.is_symlink() and os.path.isdir(entry.path):
                links.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.name.lower().endswith(suffixes):
                # Names alone are kept: of a million files the entries would fill the memory.
                files.append(entry.name)
    return sorted(files), sorted(folders), sorted(links)


def _identity(folder: Path) -> _Identity | None:
    try:
        # Not the path: two paths may lead to one folder.
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
