"""Photos that are measured on the command line: which, what of them is labelled, and what was done before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradsight.cli.outcomes import Outcome, judged
from gradsight.cli.terminal import progress, to_json
from gradsight.errors import GradsightError, InvalidArgument, UnknownName, received
from gradsight.evaluating.evaluate import Asked
from gradsight.evaluating.files import row_of
from gradsight.evaluating.items import Item
from gradsight.evaluating.rows import Measured
from gradsight.files import exists, read_bytes, write_bytes
from gradsight.limits import TEXT_BYTES
from gradsight.photos import Failed, Photo
from gradsight.targets import class_index

KEPT = "measured.jsonl"
"""What was asked for, and the figures of each photo that is done, one a line: what --resume goes on from."""


def labels_of(photos: Sequence[Photo], source: Path, names: Sequence[str] | None) -> tuple[list[int] | None, str]:
    """The class of each photo by the folder that it lies in, or None, and in words why not.

    Args:
        photos: what was found.
        source: the folder that was named.
        names: of the model's classes.
    """
    folders = [_folder_in(photo, source) for photo in photos]
    # A photo beside the folders has no label, and a target for some alone would be two evaluations in one.
    if not names or "" in folders or not folders:
        return None, ""
    index: dict[str, int] = {}
    for folder in dict.fromkeys(folders):
        try:
            index[folder] = class_index(folder, names, len(names))
        except (UnknownName, InvalidArgument):
            return None, f"the folder {folder!r} is called like no class of the model: folders are not taken for labels"
    return [index[folder] for folder in folders], ""


def _folder_in(photo: Photo, source: Path) -> str:
    """The first folder below the one that was named; empty where the photo lies in that itself."""
    try:
        parts = Path(photo.name).relative_to(source).parts
    except ValueError:
        return ""
    return parts[0] if len(parts) > 1 else ""


@dataclass
class Keeping:
    """Figures of photos, kept in a file while others are measured.

    Attributes:
        path: the file.
        asked: what was asked for, as JSON has it.
        done: what was measured, by the photo's name.
        left_out: the methods that fit the model not.
    """

    path: Path
    asked: Mapping[str, Any]
    done: dict[str, Measured] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Keeping:
        """What an earlier call kept, if it is to be gone on with.

        Raises:
            InvalidArgument: the folder holds what was measured by other settings.
        """
        made = cls(folder / KEPT, json.loads(to_json(asked)))
        if overwrite or not exists(made.path):
            return made
        first, *others = _lines(made.path)
        if first.get("asked") != made.asked:
            raise InvalidArgument(
                f"--out must not hold what was measured by other settings. Received: {str(folder)!r}, "
                f"{_difference(first.get('asked'), made.asked)}. Name another folder, --out other, or replace it: "
                "--overwrite."
            )
        if resume:
            for line in others:
                made._take(line)
        return made

    def _take(self, line: Mapping[str, Any]) -> None:
        try:
            rows = tuple(row_of(_COLUMNS, values) for values in line["rows"])
            self.done[str(line["image"])] = Measured(str(line["image"]), rows, tuple(line["problems"]))
            self.left_out.update(line["left_out"])
        except (KeyError, TypeError, ValueError):
            return  # a line that was cut where the call ended: its photo is measured again

    def begin(self) -> None:
        """Write what is known, in place of what was there."""
        lines = [to_json({"asked": self.asked}), *map(self._line, self.done.values())]
        write_bytes(self.path, "".join(f"{line}\n" for line in lines).encode())

    def keep(self, one: Measured) -> None:
        """Keep one photo more."""
        self.done[one.image] = one
        # Appended: to write all again after each photo would take longer and longer.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self._line(one)}\n")

    def _line(self, one: Measured) -> str:
        rows = [[getattr(row, name) for name in _COLUMNS] for row in one.rows]
        return to_json({"image": one.image, "problems": one.problems, "left_out": self.left_out, "rows": rows})


_COLUMNS = ("image", "target", "index", "layer", "method", "metric", "value", "values")


def _lines(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        text = read_bytes(path, "what was measured", InvalidArgument, TEXT_BYTES).decode("utf-8", "replace")
    except GradsightError:
        text = ""
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:  # the last line, where a call was ended while it wrote
            continue
        found += [value] if isinstance(value, dict) else []
    if not found:
        raise InvalidArgument(f"{str(path)!r} is no file of gradsight's. {received(path.name)} Name another --out.")
    return found


def _difference(earlier: object, now: Mapping[str, Any]) -> str:
    """The first setting that differs, in words."""
    if not isinstance(earlier, dict):
        return "of which nobody knows how it was measured"
    # The new settings first: those are what the user has just typed.
    name = next((name for name in (*now, *earlier) if now.get(name) != earlier.get(name)), "")
    return f"where {name} was {earlier.get(name)!r} and is {now.get(name)!r} now"


def measured(asked: Asked, keeping: Keeping) -> Iterator[Outcome[Measured]]:
    """Measure the photos that are not done, and keep what comes of each."""
    items = list(asked.items)
    left = [item for item in items if item.name not in keeping.done]
    keeping.begin()

    def outcomes(stream: Iterator[Measured | Failed[Item]]) -> Iterator[Outcome[Measured]]:
        for one in stream:
            if isinstance(one, Failed):
                yield Outcome(_photo(one.photo.name), error=one.error)
            else:
                keeping.left_out.update(asked.measuring.left_out)
                keeping.keep(one)
                yield Outcome(_photo(one.image), result=one)

    with asked.stream(left) as stream:
        yield from progress(judged(outcomes(stream), len(left)), len(left))


def _photo(name: str) -> Photo:
    return Photo(name, name, b"")
