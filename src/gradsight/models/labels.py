"""Class names: ImageNet's, or read from the user's file or folder."""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from gradsight.errors import InvalidArgument, one_line, received
from gradsight.files import entries, is_folder, read_text
from gradsight.targets.class_names import in_order

_WAY_OUT = (
    "Give a .txt with one name a line, a .json list or {index: name}, a .csv of index,name, "
    "or a folder with one sub-folder a class."
)
_WORDNET = re.compile(r"n\d{8}")


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 ImageNet class names by index, synonyms joined as ImageNet writes them: ``"tench, Tinca tinca"``."""
    text = resources.files("gradsight").joinpath("data/imagenet_labels.json").read_text(encoding="utf-8")
    return tuple(", ".join(names) for names in json.loads(text))


def read_labels(path: str | PathLike[str]) -> tuple[str, ...]:
    """Read class names by index.

    Args:
        path: ``.txt`` (one name a line), ``.json`` (a list, or an object of index to name or of name to index),
            ``.csv`` (an index and a name a row, in either order, with or without a header), or a folder, whose
            sub-folders in alphabetical order are the classes, as ``torchvision.datasets.ImageFolder`` has them.

    Returns:
        One name for each class, in the order of the model's outputs.

    Raises:
        InvalidArgument: there is no such file, or it does not hold one name for each index from 0.
    """
    source = Path(path)
    if is_folder(source):
        return _named([entry.name for entry in entries(source, "labels") if is_folder(entry)], source)
    readers = {".txt": _lines, ".json": _json, ".csv": _table}
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise InvalidArgument(f"{str(source)!r} must be a .txt, .json or .csv file or a folder of labels. {_WAY_OUT}")
    return _named(reader(read_text(source, "class labels"), source), source)


def _named(names: list[Any], source: Path) -> tuple[str, ...]:
    if not names:
        raise _unlike("name at least one class", source)
    for index, name in enumerate(names):
        # An empty name could not be told from a missing one, and no target could be called by it.
        if not isinstance(name, str) or not name.strip():
            raise _unlike(f"be text, one for each class; class {index} is {reprlib.repr(name)}", source)
    return tuple(name.strip() for name in names)


def _lines(text: str, _: Path) -> list[Any]:
    # an empty line in the middle stays, and is refused: dropping it would shift every later class
    lines = text.rstrip().replace("\r\n", "\n").replace("\r", "\n")  # splitlines would split within some names too
    return [line.strip() for line in lines.split("\n")] if lines else []


def _json(text: str, source: Path) -> list[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # nested too deep for Python to read
        raise _unlike(f"be valid JSON: {one_line(error)}", source) from error
    if isinstance(content, Mapping):
        return _by_index(list(content.items()), source)
    if isinstance(content, list):
        return [_joined(name) for name in content]
    raise _unlike("be a JSON list or object", source, received(content))


def _table(text: str, source: Path) -> list[Any]:
    try:
        rows = [tuple(cell.strip() for cell in row) for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:  # such as a field over csv's limit
        raise _unlike(f"be a table: {one_line(error)}", source) from error
    # With more columns nothing says which one is the name.
    if any(len(row) != 2 for row in rows):
        wide = next(row for row in rows if len(row) != 2)
        raise _unlike("have two columns, index and name", source, received(wide))
    if rows and not any(cell.isdecimal() for cell in rows[0]):
        rows = rows[1:]  # a header
    return _by_index(rows, source)


def _joined(name: Any) -> Any:
    """Join synonyms, and drop the WordNet id of a Keras ``imagenet_class_index.json`` entry."""
    if isinstance(name, list) and all(isinstance(part, str) for part in name):
        return ", ".join(name[1:] if name and _WORDNET.fullmatch(name[0]) else name)
    return name


def _by_index(pairs: list[Any], source: Path) -> list[Any]:
    """Order (index, name) or (name, index) pairs; the side where every entry is a whole number is the index."""
    return [_joined(name) for name in in_order(pairs, _in(source), _WAY_OUT)]


def _in(source: Path) -> str:
    return f"labels in {str(source)!r}"


def _unlike(rule: str, source: Path, what: str = "") -> InvalidArgument:
    """The error for labels that are not as they must be."""
    return InvalidArgument(" ".join(filter(None, [f"{_in(source)} must {rule}.", what, _WAY_OUT])))
