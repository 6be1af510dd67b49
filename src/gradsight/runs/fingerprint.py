"""A short text that tells one photo from another, so that heat is drawn on the very photo that was explained."""

from __future__ import annotations

import os
import zlib

import numpy as np
from PIL import Image

from gradsight.errors import ImageError
from gradsight.files import opened
from gradsight.imaging import read_image
from gradsight.runs.item import Content

_PIECE = 1 << 20
"""So many bytes of a file are read at once."""


def of(source: Content) -> str:
    """The fingerprint of a photo as it was given.

    Args:
        source: of an `Item`.

    Returns:
        ``"file:"`` and the CRC-32 of a file's bytes, or ``"pixels:"`` and that of a picture's upright RGB pixels.

    Raises:
        ImageError: it cannot be read.

    >>> of(b"abc")
    'file:352441c2'
    """
    if isinstance(source, os.PathLike):
        return f"file:{_of_file(source):08x}"
    if isinstance(source, bytes):
        return f"file:{zlib.crc32(source):08x}"
    if not isinstance(source, Image.Image | np.ndarray):  # a part of a larger file, such as a member of a tar
        return f"file:{zlib.crc32(source.read()):08x}"
    return of_pixels(read_image(source))


def of_pixels(photo: Image.Image) -> str:
    """The fingerprint of an upright RGB picture by its pixels."""
    return f"pixels:{zlib.crc32(photo.tobytes()):08x}"


def _of_file(path: str | os.PathLike[str]) -> int:
    # In pieces: a photo in a file of its own may be a scan of some hundred megabytes.
    found = 0
    with opened(path, "a picture", ImageError) as file:
        while piece := file.read(_PIECE):
            found = zlib.crc32(piece, found)
    return found
