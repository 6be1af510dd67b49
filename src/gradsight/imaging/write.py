"""Write a picture: whole, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, one_line
from gradsight.files import write_bytes
from gradsight.imaging.overlay import shrunk
from gradsight.rules import Whole

QUALITY = Whole(1, 100)
"""Of JPEG and WebP: 100 is the best."""

_QUALITY = 90
"""Overlays are looked at closely: below this, blocks of JPEG show at the edges of a colour map."""

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg"}


def encoded(picture: Image.Image, form: str, *, quality: int = _QUALITY) -> bytes:
    """A picture as the content of a file.

    Args:
        picture: of a mode that the form knows, such as RGB.
        form: Pillow's name of it, such as ``"PNG"``. PNG is compressed a little only: at Pillow's own level it takes
            three times as long, and a photo becomes hardly smaller.
        quality: of JPEG and WebP, from 1 to 100.

    Raises:
        InvalidArgument: the form does not take such a picture; JPEG and WebP have a largest size.
    """
    buffer = io.BytesIO()
    quality = taken("quality", quality, QUALITY, "Pass 90.")
    # WebP and JPEG take a quality; PNG has none, it is always without loss.
    options = {"compress_level": 1} if form == "PNG" else {"quality": quality}
    try:
        picture.save(buffer, form, **options)
    # Pillow raises these for sizes and modes that a form cannot hold, each plugin its own.
    except (OSError, ValueError, KeyError, SystemError) as error:
        raise InvalidArgument(
            f"a picture of {picture.width} x {picture.height} pixels ({picture.mode}) cannot be written as {form}: "
            f"{one_line(error)}. Write it as PNG."
        ) from error
    return buffer.getvalue()


def save(
    picture: Image.Image, path: str | os.PathLike[str], *, quality: int = _QUALITY, max_side: int | None = None
) -> None:
    """Write a picture in the form that its name ends in; its folder is made if need be.

    Args:
        picture: what to write.
        path: where, such as ``"out/cat.jpg"``.
        quality: of JPEG and WebP, from 1 to 100.
        max_side: the most pixels of the longer side; a larger picture is made smaller first.

    Raises:
        InvalidArgument: it cannot be written there, or not in that form; what was there before is left as it was.
    """
    # Without this Pillow knows the names of a few forms only, those that something has opened before.
    Image.init()
    form = Image.EXTENSION.get(Path(path).suffix.lower())
    if form is None:
        raise InvalidArgument(f"a picture's name must end in .png, .jpg or .webp. Received: {os.fspath(path)!r}.")
    write_bytes(path, encoded(shrunk(picture, max_side), form, quality=quality))


def format_of(photo: str | os.PathLike[str]) -> str:
    """What the name of a picture drawn on a photo should end in: ``".jpg"`` if the photo is a JPEG, else ``".png"``.

    A photo that was compressed with loss is a fifth of a PNG's size, and takes a fifth of the time to write.

    >>> format_of("holiday/IMG_1.JPEG"), format_of("scan.tif")
    ('.jpg', '.png')
    """
    return ".jpg" if Path(photo).suffix.lower() in _JPEG else ".png"
