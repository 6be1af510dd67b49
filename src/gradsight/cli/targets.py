"""What is to be explained, from the options that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsight as gs
from gradsight import imaging
from gradsight.cli.naming import is_photo
from gradsight.errors import ImageError, InvalidArgument, received
from gradsight.targets import OutputContext, ScoreSpec, resolve


def targets_of(
    classes: list[str] | None,
    top: int | None,
    against: list[str] | None,
    rather_than: list[str] | None,
    box: str | None = None,
    point: str | None = None,
    mask: Path | None = None,
    like: list[str] | None = None,
    together: bool = False,
) -> Any:
    """What is to be explained.

    Raises:
        InvalidArgument: options that exclude each other.
        ImageError: the mask cannot be read.
    """
    kinds = (("--class", classes), ("--top", top), ("--against", against), ("--like", like))
    given = [name for name, value in kinds if value]
    if len(given) > 1:
        raise InvalidArgument(
            f"{given[0]} and {given[1]} exclude each other: name the classes, ask for the best ones, or for what "
            "speaks against some, or for what makes it like something else."
        )
    if against and rather_than:
        raise InvalidArgument(
            "--against and --rather-than exclude each other: --class A --rather-than B shows what speaks for A and B."
        )
    region: dict[str, Any] = {
        "box": _positions(box, "--box", 4),
        "point": _positions(point, "--point", 2),
        "mask": None if mask is None else np.asarray(imaging.read_image(mask).convert("L")) > 127,
    }
    placed = any(value is not None for value in region.values())
    if not (classes or against) and placed:
        raise InvalidArgument("--box, --point and --mask need the class that is looked for there. Add --class NAME.")
    if together and not (classes or against or like):
        raise InvalidArgument("--together needs the classes that are to be one. Add --class A --class B.")

    def named(names: list[str]) -> Any:
        names = list(dict.fromkeys(names))
        if not (like or placed or together):
            return gs.Classes(*names)
        each = [likeness(x) if like else _Placed(gs.Pixels(x, **region)) if placed else x for x in names]
        return (gs.Sum if together else gs.Several)(*each)

    chosen = classes or like
    found: Any = named(chosen) if chosen else gs.Against(named(against)) if against else gs.Top(top or 1)
    return gs.Contrast(found, named(rather_than)) if rather_than else found


def likeness(text: str) -> gs.Similarity:
    """What a photo is compared with: another one, if there is such a file or it is called like one, or else a text.

    Raises:
        InvalidArgument: there is no such photo.
    """
    if not is_photo(text):
        return gs.Similarity(text=text)
    try:
        imaging.read_image(text)
    except ImageError as error:
        raise InvalidArgument(f"what a photo is compared with must be a photo or a text. {error}") from error
    return gs.Similarity(image=text)


@dataclass(frozen=True)
class _Placed:
    """A class in a region: of a detector that is a box, of a segmentation pixels."""

    pixels: gs.Pixels

    def resolved(self, setting: OutputContext) -> ScoreSpec:
        """Which of them, the model's output tells."""
        detector = setting.detections(setting.outputs) is not None and self.pixels.box is not None
        return resolve(gs.Box(self.pixels.which, self.pixels.box) if detector else self.pixels, setting)


def _positions(text: str | None, option: str, count: int) -> tuple[float, ...] | None:
    """``"20,60,52,100"`` as that many numbers."""
    if text is None:
        return None
    found = re.findall(r"-?\d+(?:\.\d+)?", text)
    if len(found) != count or ",".join(found) != text.replace(" ", ""):
        example = ",".join(str(10 * (i + 1)) for i in range(count))
        raise InvalidArgument(f"{option} must be {count} numbers. {received(text)} Pass {option} {example}.")
    return tuple(map(float, found))
