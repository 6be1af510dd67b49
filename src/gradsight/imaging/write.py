"""Write a picture: whole, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from gradsight.errors import InvalidArgument, one_line
from gradsight.files import write_bytes


def encoded(picture: Image.Image, form: str) -> bytes:
    """A picture as the content of a file.

    Args:
        picture: of a mode that the form knows, such as RGB.
        form: Pillow's name of it, such as ``"PNG"``.

    Raises:
        InvalidArgument: the form does not take such a picture; JPEG and WebP have a largest size.
    """
    buffer = io.BytesIO()
    try:
        picture.save(buffer, form)
    except (OSError, ValueError, KeyError, SystemError) as error:
        raise InvalidArgument(
            f"a picture of {picture.width} x {picture.height} pixels ({picture.mode}) cannot be written as {form}: "
            f"{one_line(error)}. Write it as PNG."
        ) from error
    return buffer.getvalue()


def save(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the form that its name ends in; its folder is made if need be.

    Raises:
        InvalidArgument: it cannot be written there, or not in that form; what was there before is left as it was.
    """
    Image.init()
    write_bytes(path, encoded(picture, Image.EXTENSION[Path(path).suffix.lower()]))
