"""Write a picture: whole, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from gradsight.errors import ImageError, InvalidArgument, one_line
from gradsight.files import opened, write_bytes

QUALITY = 90
"""Of JPEG and WebP: what is lost is not seen."""

_JPEG = b"\xff\xd8\xff"
"""What the content of a JPEG begins with."""

_LEVEL = 1
"""Of PNG's compression, 0 to 9: level 6 takes three times as long and saves a few per cent of a photo."""


def format_of(source: str | os.PathLike[str] | bytes) -> str:
    """The form to write a photo's overlays in: JPEG where the photo is one, or else PNG, which loses nothing.

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
        return "JPEG" if source.startswith(_JPEG) else "PNG"
    with opened(source, "a picture", ImageError) as file:
        return "JPEG" if file.read(len(_JPEG)) == _JPEG else "PNG"


def encoded(picture: Image.Image, form: str, *, quality: int = QUALITY) -> bytes:
    """A picture as the content of a file.

    Args:
        picture: of a mode that the form knows, such as RGB.
        form: Pillow's name of it, such as ``"PNG"``.
        quality: of the forms that lose something, 1 to 100.

    Raises:
        InvalidArgument: the form does not take such a picture; JPEG and WebP have a largest size.
    """
    buffer = io.BytesIO()
    options = {"compress_level": _LEVEL} if form == "PNG" else {"quality": quality}
    try:
        picture.save(buffer, form, **options)
    except (OSError, ValueError, KeyError, SystemError) as error:
        raise InvalidArgument(
            f"a picture of {picture.width} x {picture.height} pixels ({picture.mode}) cannot be written as {form}: "
            f"{one_line(error)}. Write it as PNG."
        ) from error
    return buffer.getvalue()


def save(
    picture: Image.Image, path: str | os.PathLike[str], *, quality: int = QUALITY, max_side: int | None = None
) -> None:
    """Write a picture in the form that its name ends in; its folder is made if need be.

    Args:
        picture: of a mode that the form knows, such as RGB.
        path: where to.
        quality: of JPEG and WebP, 1 to 100.
        max_side: the longest side in pixels: a larger picture is made smaller; None for its own size.

    Raises:
        InvalidArgument: it cannot be written there, or not in that form; what was there before is left as it was.
    """
    Image.init()
    if max_side is not None and max(picture.size) > max_side:
        picture = picture.copy()
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    form = Image.EXTENSION[Path(path).suffix.lower()]
    write_bytes(path, encoded(picture, form, quality=quality))
