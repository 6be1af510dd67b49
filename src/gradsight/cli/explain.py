"""Explain photos one after the other, and write what comes out into a folder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import gradsight as gs
from gradsight import imaging
from gradsight.cli.naming import Photo, find_photos, label_names, layer_names, method_names
from gradsight.cli.outcomes import each
from gradsight.cli.terminal import complain, progress, say, say_json, short, to_json
from gradsight.errors import InvalidArgument
from gradsight.files import is_folder, write_bytes

Record = dict[str, Any]
Explained = Callable[[Photo], Any]
"""From a photo to an explanation, or a tuple of them."""


@dataclass(frozen=True)
class Output:
    """Where overlays and records go, and how overlays are drawn.

    Attributes:
        folder: may not be there yet.
        colormap: its name; None for the one that fits.
        opacity: of the colours.
        kind: part of the names of records, such as ``"caption"``; empty for none.
        strip: draw one picture of each explanation, the photo and all its overlays side by side, named by its kind.

    Raises:
        InvalidArgument: the folder is a file or cannot be written to, or the opacity is outside [0, 1].
        UnknownName: there is no such colour map.
    """

    folder: Path
    colormap: str | None = None
    opacity: str | float = "value"
    kind: str = ""
    strip: bool = False

    def __post_init__(self) -> None:
        nearest = nearest_of(self.folder)
        if not is_folder(nearest):
            raise InvalidArgument(f"--out must be a folder, and {str(nearest)!r} is a file. Name another folder.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise InvalidArgument(f"--out must be writable, and {str(nearest)!r} is not. Name another folder.")
        check_drawing(self.colormap, self.opacity)

    def write(self, photo: Photo, explanations: Sequence[gs.Explanation]) -> list[Record]:
        """Write the overlays and the record of one photo.

        Args:
            photo: which one.
            explanations: of this photo alone, one for each layer and method.

        Returns:
            A record for each explanation.

        Raises:
            InvalidArgument: the folder cannot be written to.
        """
        records = self._records(photo, explanations)
        content = to_json(records[0] if len(records) == 1 else records, indent=2)
        name = ".".join(filter(None, (photo.stem, self.kind, "json")))
        write_bytes(self.folder / name, f"{content}\n".encode())
        return records

    def _records(self, photo: Photo, explanations: Sequence[gs.Explanation]) -> list[Record]:
        layers = layer_names([_file_name(explanation) for explanation in explanations])
        methods = method_names([explanation.method for explanation in explanations])
        several = len(methods) < len(explanations)
        records = []
        for explanation in explanations:
            parts = [photo.stem, methods[explanation.method], *([layers[_file_name(explanation)]] if several else [])]
            if self.strip:
                file = ".".join((*parts, self.kind, "png"))
                picture = explanation.figure(0, colormap=self.colormap, opacity=self.opacity)
                imaging.save(picture, self.folder / file)
                records.append(_plain(explanation.record(0), photo, file))
                continue
            labels = label_names([(target.index, target.label) for target in explanation.targets[0]])
            files = [".".join((*parts, label, "png")) for label in labels]
            for j, file in enumerate(files):
                picture = explanation.overlay(0, j, colormap=self.colormap, opacity=self.opacity)
                imaging.save(picture, self.folder / file)
            records.append(_plain(explanation.record(0, files), photo))
        return records


def _plain(record: gs.ImageRecord, photo: Photo, file: str | None = None) -> Record:
    """A record for JSON and for people, who type options here."""
    return replace(record.in_shell(), image=photo.name, file=file).to_dict()


def _file_name(explanation: gs.Explanation) -> str:
    """What the layers are called in names of files."""
    return "_".join(explanation.layers) or "input"


def nearest_of(path: Path) -> Path:
    """What there is of a path that is to be written: itself, or the nearest folder above it.

    Raises:
        InvalidArgument: the system takes no such name.
    """
    for nearest in (path, *path.parents):
        try:
            nearest.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidArgument(f"--out: {str(path)!r} cannot be written: {reason}. Name another place.") from None
        return nearest
    return Path()


def check_drawing(colormap: str | None, opacity: str | float) -> None:
    """Draw once in small: the drawing knows what it takes.

    Raises:
        GradsightError: there is no such colour map or opacity.
    """
    imaging.overlay(np.zeros((1, 1, 3)), np.zeros((1, 1)), colormap=colormap or imaging.DEFAULT, opacity=opacity)


def each_photo(images: Sequence[Path], make: Callable[[], Explained], output: Output, *, as_json: bool) -> int:
    """Explain photos one after the other, print each result when it is there, and say what failed.

    Args:
        images: photos, or folders of photos.
        make: what explains a photo; called if there is one.
        output: where results go.
        as_json: print records, nothing for people.

    Returns:
        The exit status: 1 if a photo failed, else 0.

    Raises:
        GradsightError: the request fits no photo, such as a class that the model does not have.
    """
    photos, errors = find_photos(images)
    for error in errors:
        complain(str(error), "Failed")
    failed, total = len(errors), len(photos) + len(errors)
    if photos:
        explained = make()

        def done(photo: Photo) -> list[Record]:
            found = explained(photo)
            return output.write(photo, found if isinstance(found, tuple) else (found,))

        for outcome in progress(each(photos, done), len(photos)):
            failed += outcome.complain()
            if outcome.result is not None:
                _tell(outcome.result, output, as_json=as_json)
    if failed < total and not as_json:
        say("The pictures and their JSON are in ", (str(output.folder), "bold cyan"))
    if failed and total > 1:
        complain(
            f"{failed} of {total} images; the others are done." if failed < total else f"all {total} images.", "Failed"
        )
    return 1 if failed else 0


def _tell(records: Sequence[Record], output: Output, *, as_json: bool) -> None:
    """Print what came of a photo."""
    if as_json:
        for record in records:
            say_json(record)
    else:
        show(records, output.folder)
        say()


def show(records: Sequence[Record], folder: Path) -> None:
    """Print what was found in one photo, for people."""
    first = records[0]
    size = " x ".join(str(length) for length in reversed(first["size"]))
    say((first["image"], "bold"), (f"  {size} pixels, model {first['model']}", "dim"))
    if "question" in first:
        say("  Asked: ", first["question"])
        say("  The model answers: ", (short(first["answer"] or ""), "bold"))
    elif "caption" in first:
        say("  The model writes: ", (first["caption"], "bold"))
    if first["predictions"]:
        seen = ", ".join(f"{short(p['label'])} {share(p['probability'])}" for p in first["predictions"])
        say("  The model says: ", seen)
    for record in records:
        say(f"  {record['title']}, {place(record['layers'])}:")
        notes = [[note["text"] for note in target["notes"]] for target in record["targets"]]
        shared = set.intersection(*map(set, notes))
        for target, own in zip(record["targets"], notes, strict=True):
            say("    ", (short(target["label"]), "bold"), f": {_where(target, first)}")
            if target["file"] is not None:
                say("      ", (str(folder / target["file"]), "cyan"))
            for note in own:
                if note not in shared:
                    say(("      Note: ", "yellow"), note)
        for note in notes[0]:
            if note in shared:
                say(("    Note: ", "yellow"), note)
        if "file" in record:
            say("    ", (str(folder / record["file"]), "cyan"))


def share(value: float) -> str:
    """A share in per cent."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    return f"{value:.0%}" if value >= 0.005 or not value else "<1%"


def place(layers: Sequence[str]) -> str:
    """Of which layers a map is, in words."""
    if not layers:
        return "of the image itself"
    return f"at {len(layers)} layers, {layers[0]} to {layers[-1]}" if len(layers) > 1 else f"at layer {layers[0]}"


def _where(target: Record, photo: Record) -> str:
    """Where a target's heat is, in words."""
    speaks = "no place speaks for it"
    if target["peak"] is not None:
        speaks = f"strongest at {_at(target['peak'], photo)}; the hot area is {share(target['area'])} of the photo"
    against = target["against"]
    if against is None or against["peak"] is None:
        return speaks
    return f"{speaks}; most against it at {_at(against['peak'], photo)}"


_AXES = {1: ("sample",), 2: ("row", "column"), 3: ("slice", "row", "column")}


def _at(peak: Sequence[int], photo: Record) -> str:
    """A position in words: by its numbers, and in a picture by thirds too."""
    numbers = ", ".join(f"{axis} {place}" for axis, place in zip(_AXES[len(peak)], peak, strict=True))
    return f"{numbers} ({corner(peak, photo)})" if len(peak) == 2 else numbers


def corner(peak: Sequence[int], photo: Record) -> str:
    """A position in words: by thirds of the photo, or by its numbers where a model makes something else of photos."""
    if len(peak) != 2:
        return _at(peak, photo)
    down = ("top", "middle", "bottom")[3 * peak[0] // photo["height"]]
    across = ("left", "centre", "right")[3 * peak[1] // photo["width"]]
    return "centre" if (down, across) == ("middle", "centre") else f"{down} {across}"
