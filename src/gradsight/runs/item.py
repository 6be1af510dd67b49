"""A photo of a run: what it is called, what is read of it, and where it is found again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import ImageError
from gradsight.imaging import SUFFIXES
from gradsight.photos import cut


class Opening(Protocol):
    """What gives the bytes of a picture when it is read: a part of a larger file, or the word that there is none."""

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ImageError: there are none, and why.
        """


Content: TypeAlias = Path | bytes | Image.Image | NDArray[np.generic] | Opening
"""What is read as a picture."""

Label: TypeAlias = str | int


@dataclass(frozen=True)
class Unreadable:
    """What is read where there is no picture, such as of a broken line of a list: the error of its photo.

    So it is a photo that fails, with its row, as one of damaged bytes is.

    Attributes:
        why: in words.
    """

    why: str

    # `read_image` takes it for an open file, and passes its error on.
    def read(self) -> bytes:
        """Raises the error.

        Raises:
            ImageError: always.
        """
        raise ImageError(self.why)


@dataclass(frozen=True, eq=False)
class Item:
    """A photo of a run. It can be pickled, whatever it is read from.

    Attributes:
        key: what it is called, as no other of its run is: of a folder the path in it, of a tar its shard and sample.
        source: what is read: a path, the bytes of a file, a picture, an array, or a part of a tar.
        path: where it is found again to be drawn, for `reopened`; None for what is nowhere but in memory.
        label: the class that it belongs to, if somebody said it: its name or its index.

    >>> Item("cats/1.jpg", b"...", label="cats").name
    'cats/1.jpg'
    """

    key: str
    source: Content
    path: str | None = None
    label: Label | None = None

    @property
    def name(self) -> str:
        """The key, as `photos.Photo` calls it."""
        return self.key

    @property
    def is_in_memory(self) -> bool:
        """Whether the picture, or the bytes of its file, are in memory already."""
        return isinstance(self.source, bytes | Image.Image | np.ndarray)

    @property
    def stem(self) -> str:
        """How the names of its files begin: the key without the ending of a picture.

        >>> Item("cats/1.jpg", b"...").stem, Item("cats/1.jpg#2", b"...").stem
        ('cats/1', 'cats/1.jpg#2')
        """
        # Of "a.jpg#2" nothing is cut off: it would be written over "a.jpg".
        stem, ending = os.path.splitext(self.key)
        return cut(stem if ending.lower() in SUFFIXES else self.key)
