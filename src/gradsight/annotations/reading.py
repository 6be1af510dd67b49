"""Read boxes from whatever form they are in, and find masks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gradsight.annotations.coco import read_coco
from gradsight.annotations.marks import Annotations, Marks
from gradsight.annotations.problems import Problems
from gradsight.annotations.table import read_table
from gradsight.annotations.voc import read_voc
from gradsight.annotations.yolo import read_yolo
from gradsight.annotations.yolo_names import NAMES
from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.files import is_folder
from gradsight.imaging import SUFFIXES
from gradsight.limits import COUNT
from gradsight.rules import Name

_FORMS = "Give a .json (COCO), a .csv of path, label and sides, or a folder of .txt (YOLO) or .xml (Pascal VOC)."


def read_boxes(path: str | os.PathLike[str]) -> Annotations:
    """Read the boxes of things on photos.

    Args:
        path: COCO's JSON (``.json``); a table (``.csv``) with the columns path, label, top, left, bottom and right, or
            those as other tools call them; or a folder of YOLO's text files or of Pascal VOC's XML files.

    Returns:
        The boxes by photo, and what could not be read, in words.

    Raises:
        InvalidType: ``path`` is neither a text nor a path.
        InvalidArgument: there is no such file or folder, or nothing in it can be read as boxes.
    """
    source = Path(taken("path", path, Name()))
    if is_folder(source):
        return _of_folder(source)
    readers = {".json": read_coco, ".csv": read_table}
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise InvalidArgument(f"boxes must be a file or a folder of boxes. {received(str(source))} {_FORMS}")
    return reader(source)


def read_masks(folder: str | os.PathLike[str]) -> Annotations:
    """Find the masks of photos: pictures with the photos' names, of their size, black where the thing is not.

    Args:
        folder: it is searched, with the folders in it. The ending of a mask's name need not be that of its photo.

    Raises:
        InvalidType: ``folder`` is neither a text nor a path.
        InvalidArgument: there is no such folder, or no picture is in it.
    """
    source = Path(taken("folder", folder, Name()))
    found = _files(source, SUFFIXES) if is_folder(source) else []
    if not found:
        raise InvalidArgument(f"masks must be a folder of pictures, one for each photo. {received(str(source))}")
    keys = [file.relative_to(source).with_suffix("").as_posix() for file in found]
    counts, problems = Counter(keys), Problems()
    # Which of two is meant nobody can tell, and a wrong one would look like a wrong map.
    for file, key in zip(found, keys, strict=True):
        if counts[key] > 1:
            problems.add(file.name, "another mask has this name but for its ending. Take one of them out.")
    of = {key: Marks(mask=file) for file, key in zip(found, keys, strict=True) if counts[key] == 1}
    return Annotations(of, problems.all())


def _of_folder(folder: Path) -> Annotations:
    tables = {".xml": read_voc, ".txt": read_yolo}
    for suffix, reader in tables.items():
        files = [file for file in _files(folder, (suffix,)) if file.name not in NAMES]
        if files:
            return reader(folder, files)
    raise InvalidArgument(f"`path` must be a folder with boxes in it. {received(str(folder))} {_FORMS}")


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of some endings in a folder and those in it, sorted; links to folders are not followed."""
    most = int(COUNT.value) + 1
    found = list(islice(_walked(folder, suffixes), most))
    COUNT.check(len(found), f"{str(folder)!r} holds too many files")
    return sorted(found)


def _walked(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if name.lower().endswith(suffixes) and not name.startswith("."))
