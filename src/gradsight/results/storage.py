"""Results as files: one ``.npz`` with arrays, pictures and the rest as JSON. Nothing in it is executed.

What is read is looked at whole before it is a result, so that none fails later, when it is drawn or told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight import contents, imaging, npz
from gradsight.checks import taken
from gradsight.limits import PIXELS
from gradsight.results.note import OLDER, Note
from gradsight.rules import Each, Number
from gradsight.targets import Prediction, TargetInfo

FORMAT = 2
"""Of the file. 1 had one text for all layers, ``"input"`` for none of them, and notes without codes."""

_OPTIONAL = ("alphas", "channel_means")
"""Arrays that some explanations have, and older files never have."""

_NEEDED = ("names", "input_size", "targets", "predictions", "notes", "placements")
_NEWER = ("format", "layers", "at", "title", "question", "written", "preprocess", "channel_axis")
"""What is said about an explanation, and what older files do not say."""

PLACE = Each(Number(-1e9, 1e9), (4, 0), "4 numbers of pixels, or none")
"""What a target is about, as a stranger may write it."""

_JOINT = " + "
"""Between the names of several layers, in files of format 1."""


def write(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of an explanation; photos go in without loss."""
    about = {
        "format": FORMAT,
        "layers": fields["layers"],
        "at": fields["at"],
        "names": [fields["method"], fields["model"]],
        "title": fields["title"],
        "question": fields["question"],
        "written": fields["written"],
        "preprocess": fields["preprocess"],
        "input_size": fields["input_size"],
        "channel_axis": fields["channel_axis"],
        "targets": [[asdict(target) for target in row] for row in fields["targets"]],
        "predictions": [[asdict(prediction) for prediction in row] for row in fields["predictions"]],
        "notes": [[[_written(note) for note in notes] for notes in row] for row in fields["target_notes"]],
        "placements": [asdict(placement) for placement in fields["placements"]],
    }
    arrays: dict[str, Any] = {name: fields[name] for name in ("maps", "scores")}
    arrays |= {name: fields[name] for name in _OPTIONAL if fields[name] is not None}
    for i, photo in enumerate(fields["photos"]):
        # PNG: an overlay that is drawn again must be drawn on the very pixels.
        arrays[f"photo_{i}"] = np.frombuffer(imaging.encoded(photo, "PNG"), np.uint8)
    npz.pack(path, about, arrays)


def read(path: str | Path) -> dict[str, Any]:
    """Read the fields of an explanation that `write` wrote.

    Raises:
        InvalidArgument: there is no such file, or it is none of ours.
    """
    return npz.unpack(path, _fields, "an explanation", "Explanation.save")


def _fields(about: Any, arrays: npz.Arrays) -> dict[str, Any]:
    # Before the fields are looked at: those of a newer format would be called meaningless.
    if isinstance(about, dict) and contents.whole(about.get("format", 1), "format") > FORMAT:
        raise ValueError(f"it is of format {about['format']}, and this gradsight reads up to {FORMAT}: update it")
    about = contents.fields(about, "what is said about it", _NEEDED, _NEWER)
    maps = _maps(arrays)
    n, k = maps.shape[:2]
    layers, at, method, model = _names(about)
    photos, placements = _photos(about["placements"], arrays, n)
    return {
        "maps": maps,
        "scores": contents.floats(arrays, "scores", (n, k)),
        "targets": tuple(
            tuple(_named(target) for target in contents.rows(row, "targets", k))
            for row in contents.rows(about["targets"], "targets", n)
        ),
        "layers": layers,
        "at": at,
        "method": method,
        "model": model,
        "input_size": _input_size(about["input_size"]),
        "predictions": _predictions(about["predictions"], n),
        "target_notes": _notes(about["notes"], n, k),
        "photos": photos,
        "placements": placements,
        "title": contents.text(about.get("title", ""), "title"),
        **_of_channels(arrays, n, k),
        "question": contents.text(about.get("question", ""), "question"),
        "written": contents.texts(about.get("written", []), "written", 0, n),
        "preprocess": _preprocess(about.get("preprocess")),
        "channel_axis": contents.whole(about.get("channel_axis", 0), "channel_axis"),
    }


def _maps(arrays: npz.Arrays) -> NDArray[Any]:
    # Of a missing array `contents.floats` says so itself.
    axes = arrays["maps"].ndim if "maps" in arrays else 3
    if not 3 <= axes <= 5:
        raise ValueError(f"`maps` must be (images, targets, one to three axes), and has {axes} axes")
    return contents.floats(arrays, "maps", (None,) * axes)


def _of_channels(arrays: npz.Arrays, n: int, k: int) -> dict[str, Any]:
    """What is known of the layer's channels, all or nothing."""
    # Both or none: means without alphas say nothing that can be used.
    if not any(name in arrays for name in _OPTIONAL):
        return dict.fromkeys(_OPTIONAL)
    alphas = contents.floats(arrays, "alphas", (n, k, None))
    return {"alphas": alphas, "channel_means": contents.floats(arrays, "channel_means", (n, alphas.shape[2]))}


def _input_size(value: object) -> tuple[int, ...]:
    size = tuple(contents.whole(length, "input_size", least=1) for length in contents.rows(value, "input_size"))
    # A size that a stranger wrote: maps are resized to it when they are drawn.
    PIXELS.check(math.prod(size), f"`input_size` is too large: {size}")
    return size


def _named(value: object) -> TargetInfo:
    target = contents.fields(value, "a target", ("index", "label"), ("sides", "place"))
    index = target["index"]
    return TargetInfo(
        None if index is None else contents.whole(index, "a target's index"),
        contents.text(target["label"], "a target's label"),
        contents.texts(target.get("sides", []), "a target's sides", 0, 2),
        taken("a target's place", target.get("place", []), PLACE),
    )


def _predictions(value: object, n: int) -> tuple[tuple[Prediction, ...], ...]:
    made = []
    for row in contents.rows(value, "predictions", 0, n):
        # Captions and tables take the first of each image.
        if not contents.rows(row, "predictions"):
            raise ValueError("predictions must be one or more for each image, or none for all of them")
        made.append(tuple(_prediction(item) for item in row))
    return tuple(made)


def _prediction(value: object) -> Prediction:
    found = contents.fields(value, "a prediction", ("index", "label", "probability"))
    return Prediction(
        contents.whole(found["index"], "a prediction's index"),
        contents.text(found["label"], "a prediction's label"),
        contents.number(found["probability"], "a prediction's probability"),
    )


def _names(about: Mapping[str, Any]) -> tuple[tuple[str, ...], str, str, str]:
    """The layers, what the maps are of, the method and the model."""
    if "layers" in about:
        method, model = contents.texts(about["names"], "names", 2)
        at = contents.text(about.get("at", ""), "at")
        return contents.texts(about["layers"], "layers"), at, method, model
    layer, method, model = contents.texts(about["names"], "names", 3)
    # Format 1 could not tell a layer of this name from the input; the input is what it nearly always was.
    if layer == "input":
        return (), "input", method, model
    layers = tuple(layer.split(_JOINT))
    return layers, "layers" if len(layers) > 1 else "layer", method, model


def _written(note: Note) -> list[str]:
    """A note as it stands in a file: its code and its sentence, and how the command line says it if that differs."""
    return [note.code, note.text, *([note.in_shell] if note.in_shell != note.text else [])]


def _notes(value: object, n: int, k: int) -> tuple[tuple[tuple[Note, ...], ...], ...]:
    return tuple(
        tuple(tuple(map(_note, contents.rows(notes, "notes"))) for notes in contents.rows(row, "notes", k))
        for row in contents.rows(value, "notes", 0, n)
    )


def _note(value: object) -> Note:
    if isinstance(value, str):  # from before notes had codes
        return Note(OLDER, contents.text(value, "a note"))
    return Note(*contents.texts(value, "a note", 2, 3))


def _preprocess(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or "assumed" not in value:
        raise ValueError("preprocess must be an object that says whether it is assumed")
    return value


def _photos(value: object, arrays: npz.Arrays, n: int) -> tuple[tuple[Image.Image, ...], tuple[imaging.Placement, ...]]:
    placements = tuple(_placement(item) for item in contents.rows(value, "placements", 0, n))
    photos = []
    for i, placement in enumerate(placements):
        photo = imaging.read_image(contents.array(arrays, f"photo_{i}", (None,), "u").tobytes())
        # A box that belongs to another photo would draw the heat on the wrong place.
        if placement.image_size != (photo.height, photo.width):
            raise ValueError(f"photo {i} has {photo.width} x {photo.height} pixels, and not those of its placement")
        photos.append(photo)
    return tuple(photos), placements


def _placement(value: object) -> imaging.Placement:
    return imaging.Placement(**contents.fields(value, "a placement", ("image_size", "input_size", "box")))
