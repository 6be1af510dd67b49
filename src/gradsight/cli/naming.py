"""Which pictures are meant, and what the files made from them are called."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from gradsight.errors import ImageError
from gradsight.imaging import SUFFIXES, read_image

_LONGEST, _LONGEST_WAY = 60, 40
_LONGEST_STEM = 94  # bytes; with the method, the layer and the label it stays under the 255 of most file systems


class Photo(NamedTuple):
    """A picture to explain.

    Attributes:
        name: what the user called it.
        stem: how the names of its files begin.
        source: what is read.
    """

    name: str
    stem: str
    source: Path | bytes


def find_photos(given: Iterable[Path]) -> tuple[list[Photo], list[ImageError]]:
    """Replace folders by the pictures in them, and sort out what is not there.

    Returns:
        The photos, each with a stem of its own, and an error for each path that leads to none.
    """
    paths, errors = [], []
    for path in given:
        try:
            paths += _pictures(path)
        except ImageError as error:
            errors.append(error)
    stems = distinct([_cut(path.stem) for path in paths])
    return [Photo(str(path), stem, path) for path, stem in zip(paths, stems, strict=True)], errors


def is_photo(text: str) -> bool:
    """Whether a text means a photo, or a folder of them: there is one, or its ending is that of a picture's file."""
    return os.path.exists(text) or text.lower().endswith(SUFFIXES)


def _pictures(path: Path) -> list[Path]:
    if not os.path.exists(path):  # unlike Path.exists, it takes a name that is too long for one that does not exist
        read_image(path)  # raises, and says why
    if not os.path.isdir(path):
        return [path]
    try:
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be opened: {error.strerror}.") from error
    if not found:
        raise ImageError(f"{str(path)!r} is a folder without pictures ({', '.join(SUFFIXES)}).")
    return found


def _cut(stem: str) -> str:
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    return stem


def distinct(names: Sequence[str]) -> list[str]:
    """Make names distinct, also where case does not count: the second ``cat`` becomes ``cat-2``.

    The first holder of a name keeps it, so that ``cat, cat, cat-2`` becomes ``cat, cat-3, cat-2``.
    """
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(_key(name), i)
    taken, result = set(first), []
    for i, name in enumerate(names):
        if first[_key(name)] != i:
            name = next(other for n in count(2) if _key(other := f"{name}-{n}") not in taken)
            taken.add(_key(name))
        result.append(name)
    return result


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def safe(text: str, also: str = "") -> str:
    """Reduce a text to ASCII letters, digits, ``_``, ``-`` and what ``also`` holds; empty where nothing is left."""
    known = unicodedata.normalize("NFKD", text.replace("'", "")).encode("ascii", "ignore").decode("ascii")
    return re.sub(rf"[^A-Za-z0-9_\-{also}]+", "_", known)[:_LONGEST]


def label_names(targets: Sequence[tuple[int | None, str]]) -> list[str]:
    """A name for the file of each target, (index, label): that of the label, with the index where others share it."""
    known = list(dict.fromkeys(targets))
    names = [safe(label).strip("_-") or ("target" if index is None else f"class_{index}") for index, label in known]
    holders = Counter(_key(name) for name in names)
    told = [
        name if index is None or holders[_key(name)] == 1 else f"{name}_{index}"
        for name, (index, _) in zip(names, known, strict=True)
    ]
    files = dict(zip(known, distinct(told), strict=True))
    return [files[target] for target in targets]


def layer_names(layers: Sequence[str]) -> dict[str, str]:
    """A name for files about each layer."""
    return _names(layers, also=".", otherwise="model")


def method_names(methods: Sequence[str]) -> dict[str, str]:
    """A name for files by each method, which may be ``"fuse(layercam, by='max')"`` or a function's."""
    return _names(methods, also="", otherwise="method")


def _names(texts: Sequence[str], *, also: str, otherwise: str) -> dict[str, str]:
    known = list(dict.fromkeys(texts))
    names = [safe(text, also)[:_LONGEST_WAY].rstrip("_") or otherwise for text in known]
    return dict(zip(known, distinct(names), strict=True))
