"""The photos that a command line names; ``-`` is the one that comes in by stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gradsight.cli.earlier import STDIN_NAME
from gradsight.errors import ImageError, InvalidArgument, received
from gradsight.files import is_folder
from gradsight.limits import STDIN_BYTES
from gradsight.photos import Photo, find_photos, photo_at

STDIN = Path("-")


def photos_at(
    paths: Sequence[Path], *, recursive: bool = True, leave_out: Sequence[Path] = ()
) -> tuple[list[Photo], list[ImageError]]:
    """As `find_photos`, and ``-`` is read from stdin.

    Raises:
        InvalidArgument: ``-`` is named twice, or stdin is closed.
    """
    # `find_photos` would look for a file of the name "-".
    if STDIN not in paths:
        return find_photos(paths, recursive, leave_out)
    if paths.count(STDIN) > 1:
        raise InvalidArgument("- is the photo that comes in by stdin, and can be named once.")
    photos, errors = find_photos([path for path in paths if path != STDIN], recursive, leave_out)
    # In its place among the others, unless folders are given: nobody can tell where these end.
    place = paths.index(STDIN) if len(photos) == len(paths) - 1 else len(photos)
    return [*photos[:place], from_stdin(), *photos[place:]], errors


def one_photo(path: Path, command: str) -> Photo:
    """The one photo that a command takes.

    Raises:
        ImageError: it is a folder.
        InvalidArgument: it is ``-``, and stdin is closed.
    """
    if path == STDIN:
        return from_stdin()
    # `photo_at` does not look at the path, and the error about a folder would come when it is read.
    if is_folder(path):
        raise ImageError(f"{str(path)!r} is a folder; {command} takes one photo. Name a file in it.")
    return photo_at(path)


def from_stdin() -> Photo:
    """The photo that comes in by stdin.

    Raises:
        InvalidArgument: stdin is closed, or gives more than a picture holds.
    """
    # Python sets it to None where the process was started with its stdin closed.
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidArgument("- is the photo that comes in by stdin, which is closed. Name a file.")
    most = int(STDIN_BYTES.value)
    # One byte more than is allowed shows that there is more, and the rest is never held in memory.
    content = sys.stdin.buffer.read(most + 1)
    STDIN_BYTES.check(len(content), f"stdin is too large for a picture: {len(content):,} bytes")
    return Photo(STDIN_NAME, STDIN_NAME, content)


def not_a_folder(image: Path) -> None:
    """Check that the one photo of a command is not a folder.

    Raises:
        InvalidArgument: it is a folder.
    """
    if is_folder(image):
        raise InvalidArgument(f"IMAGE must be one photo. {received(str(image))} It is a folder: name a file in it.")
