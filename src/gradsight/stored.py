"""Results as files: one ``.npz`` with arrays, pictures and the rest as JSON. Nothing in it is executed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from gradsight import imaging
from gradsight.errors import InvalidArgument
from gradsight.files import written
from gradsight.targets import Named, Prediction

FORMAT = 1

_OPTIONAL = ("alphas", "channel_means")
"""Arrays that some explanations have, and older files never."""

Made = TypeVar("Made")


def png(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def write(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of an explanation; photos go in without loss."""
    about = {
        "format": FORMAT,
        "names": [fields["layer"], fields["method"], fields["model"]],
        "title": fields["title"],
        "question": fields["question"],
        "written": fields["written"],
        "preprocess": fields["preprocess"],
        "input_size": fields["input_size"],
        "channel_axis": fields["channel_axis"],
        "targets": [[asdict(target) for target in row] for row in fields["targets"]],
        "predictions": [[asdict(prediction) for prediction in row] for row in fields["predictions"]],
        "notes": fields["target_notes"],
        "placements": [asdict(placement) for placement in fields["placements"]],
    }
    arrays: dict[str, Any] = {name: fields[name] for name in ("maps", "scores")}
    arrays |= {name: fields[name] for name in _OPTIONAL if fields[name] is not None}
    for i, photo in enumerate(fields["photos"]):
        arrays[f"photo_{i}"] = np.frombuffer(png(photo), np.uint8)
    pack(path, about, arrays)


def pack(path: str | Path, about: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write arrays and what is said about them."""
    with written(path) as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def read(path: str | Path) -> dict[str, Any]:
    """Read the fields of an explanation that `write` wrote.

    Raises:
        InvalidArgument: there is no such file, or it is none of ours.
    """
    return unpack(path, _fields, "an explanation", "Explanation.save")


def unpack(path: str | Path, made: Callable[[dict[str, Any], dict[str, Any]], Made], what: str, writer: str) -> Made:
    """Read what `pack` wrote, and make something of it: ``made(about, arrays)``.

    Raises:
        InvalidArgument: there is no such file, or it holds something else than ``what``, which ``writer`` writes.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            about = json.loads(str(data["about"]))
            arrays = {name: data[name] for name in data.files if name != "about"}
        return made(about, arrays)
    except FileNotFoundError:
        raise InvalidArgument(f"there is no file {str(path)!r} to load {what} from.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InvalidArgument(
            f"{str(path)!r} is not {what} that {writer} wrote: {type(error).__name__}: {error}"
        ) from error


def _fields(about: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    layer, method, model = about["names"]
    count = len(about["placements"])
    return {
        "maps": arrays["maps"],
        "scores": arrays["scores"],
        "targets": tuple(tuple(_named(**target) for target in row) for row in about["targets"]),
        "layer": layer,
        "method": method,
        "model": model,
        "input_size": tuple(about["input_size"]),
        "predictions": tuple(tuple(Prediction(**prediction) for prediction in row) for row in about["predictions"]),
        "target_notes": tuple(tuple(tuple(notes) for notes in row) for row in about["notes"]),
        "photos": tuple(imaging.read_image(arrays[f"photo_{i}"].tobytes()) for i in range(count)),
        "placements": tuple(imaging.Placement(**{k: tuple(v) for k, v in p.items()}) for p in about["placements"]),
        "title": about.get("title", ""),
        **{name: arrays.get(name) for name in _OPTIONAL},
        "question": about.get("question", ""),
        "written": tuple(about.get("written", ())),
        "preprocess": about.get("preprocess"),
        "channel_axis": about.get("channel_axis", 0),
    }


def _named(index: int | None, label: str, sides: Sequence[str] = (), place: Sequence[float] = ()) -> Named:
    return Named(index, label, tuple(sides), tuple(place))
