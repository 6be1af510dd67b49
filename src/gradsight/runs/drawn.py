"""Images of a run drawn: a contact sheet of many, or a picture of each map in a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from PIL import Image, ImageFont

from gradsight import imaging
from gradsight.errors import GradsightError, InvalidArgument, printable
from gradsight.names import key as shared
from gradsight.photos import cut
from gradsight.results.explanation import Explanation
from gradsight.results.explanations import each_of
from gradsight.results.files import overlay_names
from gradsight.results.pictures import Look
from gradsight.results.sheet import legends
from gradsight.runs.opened import Run

_HEIGHT = 200
"""Of the pictures in a contact sheet, in pixels."""

_TEXT = 13
_WIDTH = 420
"""Of a contact sheet at least: its legend must fit under one narrow picture."""

_SHAPE = 1.4
"""Of a contact sheet, width by height: that of a screen."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn of one image.

    Attributes:
        key: of the image.
        files: the pictures that were written, one for each map; empty where it failed.
        error: why it could not be drawn.
    """

    key: str
    files: tuple[Path, ...] = ()
    error: GradsightError | None = None


def overlays(
    run: Run,
    folder: Path,
    *,
    suffix: str | None = None,
    quality: int = 90,
    max_side: int | None = None,
    **look: Unpack[Look],
) -> Iterator[Drawn]:
    """Draw each map of a run on its photo, KEY.METHOD.CLASS.jpg, one image after the other.

    Args:
        run: what is drawn; of a million images `Run.filter` and a slice leave some.
        folder: where pictures are written; nothing is written outside of it, whatever the images are called.
        suffix: of the pictures; that of the photo if None: ``".jpg"`` where that is a JPEG, else ``".png"``.
        quality: of JPEG and WebP, 1 to 100.
        max_side: the longest side in pixels; that of the photo if None.
        **look: as in `Explanation.overlay`.

    Yields:
        What came of each image: a photo that is gone, or was changed, is an error of its own.
    """
    used: dict[str, int] = {}
    for key, explained in run.items():
        explanations = each_of(explained)
        stem = _stem(key, used)
        ending = suffix or (".jpg" if Path(key).suffix.lower() in (".jpg", ".jpeg", ".jfif") else ".png")
        files = []
        try:
            for explanation, names in zip(explanations, overlay_names(stem, explanations, ending), strict=True):
                for j, name in enumerate(names):
                    picture = explanation.overlay(0, j, max_side=max_side, **look)
                    imaging.save(picture, folder / name, quality=quality)
                    files.append(folder / name)
        except GradsightError as error:
            yield Drawn(key, error=error)
        else:
            yield Drawn(key, tuple(files))


def contact_sheet(run: Run, **look: Unpack[Look]) -> tuple[Image.Image, tuple[Drawn, ...]]:
    """Every map of a run on its photo in one picture, with what it is of under each, and a legend.

    Args:
        run: what is drawn; a slice leaves as many as a picture can show.
        **look: as in `Explanation.overlay`.

    Returns:
        The picture, and the images that are missing in it.

    Raises:
        InvalidArgument: there is no image that can be drawn.
    """
    panels: list[tuple[Image.Image, list[str]]] = []
    signed: list[bool] = []
    missing: list[Drawn] = []
    for key, explained in run.items():
        for explanation in each_of(explained):
            try:
                panels += _panels(key, explanation, look)
            except GradsightError as error:
                missing.append(Drawn(key, error=error))
                break
            signed += [target.signed for target in explanation.targets[0]]
    if not panels:
        why = f" The first one: {missing[0].error}" if missing else " Ask for others, or begin with gs.open_run(...)."
        raise InvalidArgument(f"no image of the run can be drawn.{why}")
    picture = imaging.strip(panels, height=_HEIGHT, across=_across(panels), text=_TEXT)
    font = ImageFont.load_default(_TEXT)
    wide = _at_least(picture, _WIDTH)
    return imaging.with_legends(wide, legends(signed, look.get("colormap")), font, _TEXT), tuple(missing)


def _panels(key: str, explanation: Explanation, look: Look) -> list[tuple[Image.Image, list[str]]]:
    found = []
    for j, target in enumerate(explanation.targets[0]):
        picture = explanation.overlay(0, j, max_side=2 * _HEIGHT, **look)
        words = f"{target.label.partition(',')[0]} {explanation.scores[0, j]:.1f}, {explanation.method}"
        found.append((picture, [printable(key), printable(words)]))
    return found


def _at_least(picture: Image.Image, width: int) -> Image.Image:
    if picture.width >= width:
        return picture
    canvas = Image.new("RGB", (width, picture.height), "white")
    canvas.paste(picture, (0, 0))
    return canvas


def _across(panels: list[tuple[Image.Image, list[str]]]) -> int:
    """How many pictures a row has, for a sheet in the shape of a screen."""
    width = sum(picture.width / picture.height for picture, _ in panels) / len(panels)
    # A picture with its two lines is about a third higher than it is itself.
    return max(1, round(math.sqrt(_SHAPE * 1.3 * len(panels) / width)))


def _stem(key: str, used: dict[str, int]) -> str:
    """How the names of an image's files begin: its key, without what would lead out of the folder."""
    parts = [_part(part) for part in key.split("/") if part not in ("", ".", "..")] or ["image"]
    *folders, name = parts
    stem = "/".join([*folders, cut(Path(name).stem or name)])
    # Of two keys that read alike here the second gets a number.
    number = used[shared(stem)] = used.get(shared(stem), 0) + 1
    return stem if number == 1 else f"{stem}-{number}"


def _part(text: str) -> str:
    """A part of a key as the name of a file or a folder."""
    return cut("".join(letter if letter.isprintable() and letter not in '\\:*?"<>|' else "_" for letter in text))
