"""YOLO's text files: one for each photo, a line for each thing, in shares of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradsight.annotations.marks import Annotations, Corners, LabelledBox, Marks
from gradsight.annotations.problems import Problems
from gradsight.annotations.yolo_names import NAMES, names_of
from gradsight.errors import InvalidArgument
from gradsight.files import read_text

_FORM = "class x y width height, in shares of the photo, or class and a polygon x y x y x y ..."


def read_yolo(folder: Path, files: Sequence[Path]) -> Annotations:
    """Read the boxes of a folder of YOLO's text files.

    Classes have the names that ``classes.txt``, ``obj.names`` or ``data.yaml`` gives them, in this folder or one of the
    three above it; without such a file they are called by their numbers. Of a polygon the box around it is taken, and a
    confidence, as predictions have one, is left aside.

    Args:
        folder: it is named relative to this one.
        files: its text files, at any depth.
    """
    problems, of = Problems(), {}
    names = names_of(folder)
    if not names:
        problems.add(folder.name, f"no file says what its classes are called; looked for {', '.join(NAMES)}.")
    for file in files:
        if file.name in NAMES:
            continue
        key = file.relative_to(folder).with_suffix("").as_posix()
        try:
            lines = read_text(file, "YOLO's text").splitlines()
        except InvalidArgument as error:
            problems.add(key, str(error))
            continue
        boxes = []
        for at, line in enumerate(lines, start=1):
            with problems.caught(f"{key}.txt", f"line {at}"):
                if line.strip():
                    boxes.append(_box(line.split(), names))
        of[key] = Marks(tuple(boxes))
    return Annotations(of, problems.all())


def _box(words: Sequence[str], names: Sequence[str]) -> LabelledBox:
    if len(words) < 5 or (len(words) > 6 and len(words) % 2 == 0):
        raise ValueError(f"it must be {_FORM}, and has {len(words)} words")
    if not words[0].isdecimal() or not words[0].isascii() or len(words[0]) > 9:
        raise ValueError(f"its class must be a whole number, and is {words[0][:40]!r}")
    index = int(words[0])
    if names and index >= len(names):
        raise ValueError(f"its class must be one of {len(names)}, counted from 0, and is {index}")
    numbers = [float(word) for word in words[1:]]
    corners = _around(numbers) if len(numbers) > 5 else _from_centre(numbers)
    if not all(-0.01 <= corner <= 1.01 for corner in corners):
        raise ValueError(f"it must lie within the photo, in shares from 0 to 1: {' '.join(words)[:80]!r}")
    top, left, bottom, right = (min(max(corner, 0.0), 1.0) for corner in corners)
    return LabelledBox(names[index] if names else str(index), (top, left, bottom, right), relative=True)


def _from_centre(numbers: Sequence[float]) -> Corners:
    across, down, width, height = numbers[:4]
    return down - height / 2, across - width / 2, down + height / 2, across + width / 2


def _around(polygon: Sequence[float]) -> Corners:
    """The box around a polygon x y x y ..."""
    across, down = polygon[::2], polygon[1::2]
    return min(down), min(across), max(down), max(across)
