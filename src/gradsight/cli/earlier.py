"""What earlier calls wrote: it is not replaced by another photo's or model's, and not made again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradsight.errors import GradsightError, InvalidArgument
from gradsight.files import is_file, read_text

STDIN_NAME = "stdin"
"""What the photo is called that comes in by stdin: nobody can tell whether it is the same as before."""


def check(planned: Sequence[tuple[Path, str]], model: str | None) -> None:
    """See that no record is written over that is of another photo or model.

    Args:
        planned: for each photo the file of its record and its name.
        model: what the model is called; None where that does not count.

    Raises:
        InvalidArgument: a file is another's.
    """
    others = [(path, of) for path, image in planned if (of := _other(path, image, model))]
    if not others:
        return
    path, of = others[0]
    more = f", and {len(others) - 1} more are of others" if len(others) > 1 else ""
    raise InvalidArgument(
        f"--out must not hold results of other photos or models. Received: {str(path)!r}, which is {of}{more}. "
        "Name another folder, --out other, or replace them: --overwrite."
    )


def is_done(path: Path, image: str, asked: Mapping[str, Any]) -> bool:
    """Whether a record says that this was asked of this photo, and all files are there that it names."""
    records = _records(path) if is_file(path) else []
    # A photo that was asked about otherwise, such as for another class, is to be explained again.
    if not records or not all(_is_of(record, image) and record.get("asked") == asked for record in records):
        return False
    folder = path.parent
    # Names in records begin at the folder of all results, which is above this one where the stem has folders.
    return all(is_file(folder / Path(name).name) for record in records for name in _files(record))


def _other(path: Path, image: str, model: str | None) -> str:
    """Whose a file is, if it is not of this photo and model; empty if it is, or is not there."""
    if not is_file(path):
        return ""
    records = _records(path)
    if not records:
        # A file of the user's own that happens to have this name: it must not be replaced.
        return "no record of gradsight's"
    for record in records:
        # All photos that come in by stdin have this one name, so that it cannot tell them apart.
        if image == STDIN_NAME:
            return "of a photo that came in by stdin, perhaps another one"
        if not _is_of(record, image):
            return f"of the photo {record.get('image')!r}"
        if model is not None and record.get("model") != model:
            return f"of the model {record.get('model')!r}"
    return ""


def _is_of(record: Mapping[str, Any], image: str) -> bool:
    """Whether a record is of a photo, by whatever of its paths that was named: ``./cat.jpg`` is ``cat.jpg``."""
    named = record.get("image")
    return isinstance(named, str) and os.path.normpath(named) == os.path.normpath(image) != STDIN_NAME


def _records(path: Path) -> list[Mapping[str, Any]]:
    """What a file of records holds; empty where it is none."""
    try:
        read = json.loads(read_text(path, "a record"))
    # RecursionError: JSON that is nested too deep for Python, which no record is.
    except (GradsightError, ValueError, RecursionError):
        return []
    records = read if isinstance(read, list) else [read]
    ours = all(isinstance(record, dict) and {"image", "model"} <= record.keys() for record in records)
    return records if ours else []


def _files(record: Mapping[str, Any]) -> list[str]:
    """The files that a record names."""
    # The file may have been edited since: no type in it is taken for granted.
    targets = record.get("targets")
    named = [record.get("file"), record.get("figure")]
    named += [target.get("file") for target in targets if isinstance(target, dict)] if isinstance(targets, list) else []
    return [name for name in named if isinstance(name, str)]
