"""A visitor's photo, read: within limits, and told in words where it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from gradsight.errors import ImageError
from gradsight.imaging.read import read_content, size_of
from gradsight.pages.limits import Limits

_NAME = "The photo"
"""How errors call it: the visitor sent a photo, and knows nothing of bytes."""


def read_photo(path: str | os.PathLike[str], limits: Limits) -> Image.Image:
    """Read an uploaded photo as 8-bit RGB, upright.

    Args:
        path: where it lies.
        limits: of its bytes and pixels.

    Raises:
        ImageError: it is too large, or no picture; the text does not say where it lies.
    """
    try:
        size = os.path.getsize(path)
        if size > limits.upload:
            raise ImageError(_too_large(f"{size / 1e6:.0f} MB", f"{limits.upload / 1e6:.0f} MB"))
        content = Path(path).read_bytes()
    except OSError as error:
        # Uploads are deleted after a while; a page that was open all the time still shows them.
        raise ImageError("The photo is not there any more. Choose it again.") from error
    return of_bytes(content, limits)


def of_bytes(content: bytes, limits: Limits) -> Image.Image:
    """As `read_photo`, from the bytes of a file."""
    width, height = size_of(content, _NAME)
    if width * height > limits.pixels:
        raise ImageError(_too_large(f"{width} x {height} pixels", f"{limits.pixels:,} pixels"))
    return read_content(content, _NAME)


def _too_large(amount: str, limit: str) -> str:
    return f"The photo is too large: {amount}, over this page's limit of {limit}. Make it smaller, and choose it again."
