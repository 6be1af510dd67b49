"""Photos in files for tests of runs: each of one grey, by which it is known again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from gradsight.imaging import read_image
from gradsight.runs.items import Item, Items

HARD_NAMES = (
    "кошка 猫 بسّة.png",
    'it\'s "quoted", \\ and % #2.png',
    "two\nlines\t.png",
    " spaces .png",
    "x" * 200 + ".png",
    "😀.png",
    "!.tar!a.png",
)
"""Names that a system takes, and that lists, tables and texts must not lose."""


def png(grey: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


def photo(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(grey))
    return path


def tar(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def grey(item: Item) -> int:
    return read_image(item.source).getpixel((0, 0))[0]  # type: ignore[index, arg-type]


def found(items: Items) -> list[tuple[str, int, str | int | None]]:
    """The key, the grey and the label of each."""
    return [(item.key, grey(item), item.label) for item in items]
