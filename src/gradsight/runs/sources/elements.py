"""An element of a data set as a photo, in whatever form it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import received
from gradsight.imaging import SUFFIXES
from gradsight.photos import Photo
from gradsight.runs.item import Content, Item, Unreadable
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.columns import KEY, LABEL, PATH, PICTURE, field_of
from gradsight.runs.sources.labels import Names, label_of
from gradsight.runs.sources.paths import item_of
from gradsight.values import array_in, has, number_in

Floats: TypeAlias = NDArray[np.generic]

_CHANNELS = (1, 3, 4)

_LONGEST_PATH = 4096


@dataclass(frozen=True, eq=False)
class Parts:
    """What an element holds.

    Attributes:
        photo: one, or an array of several.
        key: what it is called; None where nothing says so.
        label: its label, in whatever form; None where there is none.
    """

    photo: object
    key: object = None
    label: object = None


def parts_of(element: object) -> Parts:
    """What an element of a data set holds.

    Args:
        element: a photo; (key, photo), (key, photo, label) or (photo, label); or a mapping with fields of usual names.
    """
    if isinstance(element, Mapping):
        photo = field_of(element, (*PICTURE, *PATH))
        # Where no name is known, the only value that can be nothing but a picture.
        pictures = [value for value in element.values() if _is_picture(value)]
        if photo is None and len(pictures) == 1:
            photo = pictures[0]
        return Parts(element if photo is None else photo, field_of(element, KEY), field_of(element, LABEL))
    if not isinstance(element, tuple | list) or isinstance(element, Photo) or len(element) not in (2, 3):
        return Parts(element)
    # Three can only mean this; two may be a key and a photo, or a photo and its label.
    if len(element) == 3:
        return Parts(element[1], element[0], element[2])
    first, second = element
    return Parts(second, first) if _is_key(first, second) else Parts(first, None, second)


def array_of(photo: object) -> NDArray[np.generic] | None:
    """A photo that is an array of any framework as one of NumPy, colours last; several with an axis more in front."""
    if isinstance(photo, Image.Image) or not has(photo, "shape", "dtype"):
        return None
    array = array_in(photo)
    if array is None or array.ndim not in (2, 3, 4) or array.dtype.kind not in "buif":
        return None
    # PyTorch has colours first, others last; of what could be both the framework decides.
    first = array.ndim > 2 and array.shape[-3] in _CHANNELS
    if first and (has(photo, "detach") or array.shape[-1] not in _CHANNELS):
        array = np.moveaxis(array, -3, -1)
    return array


class Elements:
    """Makes items of the elements of one set.

    Args:
        names: of the set's classes, where its labels are their numbers.
        scale: what floats are divided by to lie in [0, 1].
    """

    def __init__(self, names: Names = None, scale: float = 1) -> None:
        self._names, self._scale = names, scale

    def items(self, element: object, number: int) -> Iterator[Item]:
        """The photos in an element: one, or those of a batch.

        Args:
            element: as `parts_of` takes it, or an `Item`.
            number: of photos before it.
        """
        if isinstance(element, Item):
            yield element
            return
        parts = parts_of(element)
        array = array_of(parts.photo)
        if array is None or array.ndim < 4:
            yield self._item(parts, array, number)
            return
        keys, labels = _rows(parts.key, len(array)), _rows(parts.label, len(array))
        for i, each in enumerate(array):
            yield self._item(Parts(each, keys[i], labels[i]), each, number + i)

    def _item(self, parts: Parts, array: NDArray[np.generic] | None, number: int) -> Item:
        found = _named(parts.photo) if array is None else Item(str(number), self._bytes(array))
        key = number_in(parts.key)
        if isinstance(key, bytes):
            key = os.fsdecode(key)
        # Its own name, or what it is called elsewhere, or how many came before it.
        name = readable(str(key)) if isinstance(key, str | int) and key != "" else found.key or str(number)
        label = found.label if parts.label is None else label_of(parts.label, self._names)
        return Item(name, found.source, found.path, label)

    def _bytes(self, array: NDArray[np.generic]) -> Content:
        """An array as it is read: floats in 0..255 become bytes."""
        if array.dtype.kind != "f":
            return array
        # Of one photo alone nobody can say whether 0.9 is nearly white or nearly black: the first ones of a set tell.
        highest = float(array.max(initial=0))
        if not (array.min(initial=0) >= 0 and highest <= self._scale):  # NaN too
            return Unreadable(
                f"A photo of floats must lie in [0, {self._scale:g}], as the first ones of this set do. Received: "
                f"values from {float(array.min(initial=0)):.4g} to {highest:.4g}. Give bytes, of uint8."
            )
        return array if self._scale == 1 else np.rint(array).astype(np.uint8)


def _named(photo: object) -> Item:
    """A photo that is no array, called as it is elsewhere; by an empty text where nothing says so."""
    if isinstance(photo, Item):
        return photo
    if isinstance(photo, Photo):
        place = place_of(os.path.join(os.getcwd(), photo.source)) if isinstance(photo.source, Path) else None
        return Item(readable(photo.name), photo.source, place)
    path = _path_in(photo)
    if path is not None:
        return item_of(path)
    if isinstance(photo, bytes | bytearray | memoryview):
        return Item("", bytes(photo))
    if isinstance(photo, Image.Image):
        return Item("", photo)
    if isinstance(photo, Mapping) and ("bytes" in photo or "path" in photo):
        # As Hugging Face's data sets hold pictures that are not decoded.
        name, content = photo.get("path"), photo.get("bytes")
        return Item(readable(name or ""), content) if isinstance(content, bytes) else _named(name)
    return Item("", Unreadable(f"Neither a photo nor the path of one. {received(photo)}"))


def _path_in(photo: object) -> str | None:
    """The path that a value is, also as bytes, as TensorFlow has texts."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    # A picture is longer than a path, and holds null bytes.
    if isinstance(photo, bytes) and len(photo) < _LONGEST_PATH and b"\0" not in photo:
        return os.fsdecode(photo) if photo.lower().endswith(tuple(map(str.encode, SUFFIXES))) else None
    return None


def _is_picture(value: object) -> bool:
    if isinstance(value, Image.Image | bytes):
        return True
    array = array_of(value)
    return array is not None and array.ndim > 2


def _is_key(first: object, second: object) -> bool:
    """Whether the first of two is a key and the second a photo, rather than a photo and its label."""
    key, label = number_in(first), number_in(second)
    if not isinstance(key, str | int) or label is None or isinstance(label, int | float):
        return False
    if isinstance(key, str) and isinstance(label, str):
        # A path with a label: of two that end as names of pictures the first is a key.
        return label.lower().endswith(SUFFIXES) or not key.lower().endswith(SUFFIXES)
    # A row of numbers is a label, a single 1 among zeros.
    return not has(second, "shape") or len(getattr(second, "shape", ())) > 1


def _rows(values: object, count: int) -> Sequence[object]:
    """A value for each photo of a batch; None where there are none, or not as many."""
    rows = array_in(values) if has(values, "shape") else values
    if isinstance(rows, list | tuple | np.ndarray) and len(rows) == count:
        return list(rows)
    return [None] * count
