"""The photo of a row, found again to be drawn on: the very one that was explained, or words on why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, Union

from PIL import Image

from gradsight.checks import taken
from gradsight.errors import GradsightError, ImageError, InvalidType, one_line, received
from gradsight.imaging import read_image
from gradsight.imaging.read import Readable
from gradsight.rules import Name
from gradsight.runs import fingerprint
from gradsight.runs.reopening import reopened
from gradsight.runs.schema import RunRow

Found: TypeAlias = Callable[[str], Readable | None]
"""From an image's key to its photo; None where it has none."""

Photos: TypeAlias = Union["str | os.PathLike[str] | Mapping[str, Readable]", Found]
"""Where photos are now: a folder in which keys are paths, photos by their keys, or a function of the key."""


def finder(photos: Photos | None) -> Found | None:
    """What finds photos that are elsewhere now.

    Raises:
        InvalidType: ``photos`` is none of `Photos`.
    """
    if photos is None or callable(photos):
        return photos
    if isinstance(photos, Mapping):
        return photos.get
    if isinstance(photos, str | os.PathLike):
        folder = Path(taken("photos", photos, Name()))
        return lambda key: _within(folder, key)
    raise InvalidType(f"`photos` must be a folder, photos by their keys, or a function of the key. {received(photos)}")


def _within(folder: Path, key: str) -> Path | None:
    # A key that a stranger wrote must not lead out of the folder that was named.
    return None if os.path.isabs(key) or ".." in Path(key).parts else folder / key


def again(row: RunRow, photos: Found | None) -> Image.Image:
    """Read the photo of a row.

    Args:
        row: of an image that was explained.
        photos: what finds it, where it is not at the row's own path any more.

    Raises:
        ImageError: there is none, it cannot be read, or it is another one by now.
    """
    source = _source(row, photos)
    try:
        found = _reopened(row) if source is None else source
        photo = read_image(found)
    except (GradsightError, ValueError, OSError) as error:  # a path that a stranger wrote may be none
        raise ImageError(f"the photo of {row.key!r} cannot be drawn on. {error} {_WAY_OUT}") from error
    # The size first, which says more to people than that some bytes differ.
    if photo.size != (row.width, row.height):
        raise _changed(row, f"it has {photo.width} x {photo.height} pixels, and had {row.width} x {row.height}")
    if row.fingerprint is not None and not _is_same(row.fingerprint, found, photo):
        raise _changed(row, "its content is another")
    return photo


_WAY_OUT = "Say where the photos are now: gs.open_run(run, photos=folder)."


def _source(row: RunRow, photos: Found | None) -> Readable | None:
    """What the user gives for it; None for what the run found itself."""
    found = None
    if photos is not None:
        try:
            found = photos(row.key)
        except Exception as error:  # of a function of the user's
            raise ImageError(f"`photos` failed for {row.key!r}: {one_line(error)}. {_WAY_OUT}") from error
    if found is None and row.path is None:
        raise ImageError(
            f"the photo of {row.key!r} was given in memory, and a run keeps none. Pass photos by their keys, or a "
            "function of the key: gs.open_run(run, photos={key: photo})."
        )
    return found


def _reopened(row: RunRow) -> Path | bytes:
    assert row.path is not None
    return reopened(row.path)


def _is_same(kept: str, source: Readable, photo: Image.Image) -> bool:
    """Whether a photo is the one of a fingerprint."""
    if kept.startswith("pixels:"):
        return fingerprint.of_pixels(photo) == kept
    # A picture or an array has no bytes of a file to compare: its size has to do.
    if not isinstance(source, str | os.PathLike | bytes):
        return True
    return fingerprint.of(source if isinstance(source, bytes) else Path(source)) == kept


def _changed(row: RunRow, how: str) -> ImageError:
    return ImageError(
        f"the photo of {row.key!r} is not the one that was explained: {how}. The map would lie on another picture. "
        f"Put the photo back, or explain it again. {_WAY_OUT}"
    )
