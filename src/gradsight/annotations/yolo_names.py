"""What YOLO's classes are called: a text of one name a line, or the names in a ``data.yaml``."""

from __future__ import annotations

import re
from pathlib import Path

from gradsight.errors import InvalidArgument
from gradsight.files import is_file, read_text

NAMES = ("classes.txt", "obj.names", "data.yaml", "data.yml", "dataset.yaml")
"""The files that say it, the first that is there."""

_ABOVE = 3
"""How many folders above the labels are looked into: ``data/labels/train`` belongs to ``data/data.yaml``."""

_NUMBERED = re.compile(r"""\s*['"]?(\d{1,6})['"]?\s*:\s*(.*)""")


def names_of(folder: Path) -> tuple[str, ...]:
    """The names by index; empty where no file says them.

    Raises:
        InvalidArgument: a file that should say them does not.
    """
    for place in (folder, *list(folder.absolute().parents)[:_ABOVE]):
        for name in NAMES:
            if is_file(place / name):
                return _read(place / name)
    return ()


def _read(path: Path) -> tuple[str, ...]:
    text = read_text(path, "names of classes")
    if path.suffix not in (".yaml", ".yml"):
        return tuple(line.strip() for line in text.strip().splitlines())
    names = _of_yaml(text)
    if not names or sorted(names) != list(range(len(names))):
        raise InvalidArgument(
            f"{str(path)!r} must have names: a list, or one for each class from 0 on. Received: {len(names)} names. "
            "Write them into a classes.txt, one a line."
        )
    return tuple(names[index] for index in range(len(names)))


def _of_yaml(text: str) -> dict[int, str]:
    """The names below the key ``names``, in the three ways that they are written: ``[a, b]``, ``- a``, ``0: a``.

    Only these are read, and not all of YAML, whose readers can be made to build anything.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    start = next((at for at, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return {}
    rest = _uncommented(lines[start].removeprefix("names:"))
    below = []
    for line in lines[start + 1 :]:
        # The next key of the file ends the names; a list may stand as far left as its key.
        if not line[0].isspace() and not line.startswith(("-", "]", "}")):
            break
        below.append(_uncommented(line))
    if rest[:1] in ("[", "{"):
        return _parts("".join([rest, *below])[1:].partition("]" if rest[0] == "[" else "}")[0].split(","))
    return _parts(below)


def _parts(parts: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for part in filter(None, map(str.strip, parts)):
        numbered = _NUMBERED.fullmatch(part)
        index, name = (int(numbered[1]), numbered[2]) if numbered else (len(names), part.removeprefix("-"))
        names[index] = name.strip().strip("'\"")
    return names


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()
