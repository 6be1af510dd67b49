"""Write a picture: whole, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from gradsight.checks import taken
from gradsight.errors import ImageError, InvalidArgument, one_line
from gradsight.files import opened, write_bytes
from gradsight.imaging.overlay import shrunk
from gradsight.rules import Whole

QUALITY = Whole(1, 100)
"""Of JPEG and WebP: 100 is the best."""

DEFAULT_QUALITY = 90
"""Overlays are looked at closely: below this, blocks of JPEG show at the edges of a colour map."""

NOT_WRITTEN = (".avif", ".bmp", ".gif", ".jfif", ".pdf", ".ppm", ".svg", ".tif", ".tiff")
"""Endings of pictures that are not written here: what is to be called so is meant as a picture all the same."""

_JPEG = b"\xff\xd8\xff"
"""What the content of a JPEG begins with."""

_LEVEL = 1
"""Of PNG's compression, 0 to 9: level 6 takes three times as long and saves a few per cent of a photo."""


def format_of(source: str | os.PathLike[str] | bytes) -> str:
    """The form to write a photo's overlays in: JPEG where the photo is one, or else PNG, which loses nothing.

    A photo that was compressed with loss is a fifth of a PNG's size, and takes a fifth of the time to write.

    Args:
        source: a path or the bytes of a file; what it holds counts, whatever it is called.

    Returns:
        ``"JPEG"`` or ``"PNG"``.

    Raises:
        ImageError: the file cannot be opened.

    >>> format_of(bytes([0xFF, 0xD8, 0xFF, 0xE0]))
    'JPEG'
    """
    if isinstance(source, bytes):
        # By its content: a photo's name may say another format than it has, or nothing.
        return "JPEG" if source.startswith(_JPEG) else "PNG"
    with opened(source, "a picture", ImageError) as file:
        return "JPEG" if file.read(len(_JPEG)) == _JPEG else "PNG"


def encoded(picture: Image.Image, form: str, *, quality: int = DEFAULT_QUALITY) -> bytes:
    """A picture as the content of a file.

    Args:
        picture: of a mode that the form knows, such as RGB.
        form: Pillow's name of it, such as ``"PNG"``.
        quality: of JPEG and WebP, from 1 to 100.

    Raises:
        InvalidArgument: the form does not take such a picture; JPEG and WebP have a largest size.
    """
    buffer = io.BytesIO()
    quality = taken("quality", quality, QUALITY, "Pass 90.")
    # WebP and JPEG take a quality; PNG has none, it is always without loss.
    options = {"compress_level": _LEVEL} if form == "PNG" else {"quality": quality}
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
    picture: Image.Image, path: str | os.PathLike[str], *, quality: int = DEFAULT_QUALITY, max_side: int | None = None
) -> None:
    """Write a picture in the form that its name ends in; its folder is made if need be.

    Args:
        picture: what to write.
        path: where, such as ``"out/cat.jpg"``.
        quality: of JPEG and WebP, from 1 to 100.
        max_side: the most pixels of the longer side; a larger picture is made smaller first. None for its own size.

    Raises:
        InvalidArgument: it cannot be written there, or not in that form; what was there before is left as it was.
    """
    # Without this Pillow knows the names of a few forms only, those that something has opened before.
    Image.init()
    form = Image.EXTENSION.get(Path(path).suffix.lower())
    if form is None:
        raise InvalidArgument(f"a picture's name must end in .png, .jpg or .webp. Received: {os.fspath(path)!r}.")
    write_bytes(path, encoded(shrunk(picture, max_side), form, quality=quality))
