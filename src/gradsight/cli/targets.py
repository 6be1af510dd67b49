"""What is to be explained, from the options that say so."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

import gradsight as gs
from gradsight import imaging
from gradsight.cli.options import TargetOptions
from gradsight.cli.parsing import positions
from gradsight.errors import ImageError, InvalidArgument
from gradsight.photos import is_photo
from gradsight.targets import TargetLike


def targets_of(asked: TargetOptions) -> TargetLike:
    """What is to be explained.

    Raises:
        InvalidArgument: options exclude each other, or a box, a point or a mask cannot be read.
    """
    region = _region(asked)  # first: a box that cannot be read is the nearer mistake than a class that is missing
    _check(asked, placed=region is not None)
    chosen = asked.class_ or asked.like
    target: TargetLike
    if chosen:
        target = _named(asked, chosen, region)
    elif asked.against:
        target = gs.Against(_named(asked, asked.against, region))
    else:
        # `--top` has no default, so that `_check` sees whether it was typed.
        target = gs.Top(asked.top or 1)
    return gs.Contrast(target, _named(asked, asked.rather_than, region)) if asked.rather_than else target


class _Region(TypedDict):
    """Where a class is looked for: keyword arguments of `Within`, of which at least one is given."""

    box: tuple[float, ...] | None
    point: tuple[float, ...] | None
    mask: NDArray[np.bool_] | None


def _region(asked: TargetOptions) -> _Region | None:
    region: _Region = {
        "box": positions(asked.box, "--box", 4),
        "point": positions(asked.point, "--point", 2),
        "mask": None if asked.mask is None else _mask(asked.mask),
    }
    return None if all(value is None for value in region.values()) else region


def _check(asked: TargetOptions, *, placed: bool) -> None:
    kinds = (("--class", asked.class_), ("--top", asked.top), ("--against", asked.against), ("--like", asked.like))
    given = [name for name, value in kinds if value]
    if len(given) > 1:
        raise InvalidArgument(
            f"{given[0]} and {given[1]} exclude each other: name the classes, ask for the best ones, or for what "
            "speaks against some, or for what makes it like something else."
        )
    if asked.against and asked.rather_than:
        raise InvalidArgument(
            "--against and --rather-than exclude each other: --class A --rather-than B shows what speaks for A and B."
        )
    if not (asked.class_ or asked.against) and placed:
        raise InvalidArgument("--box, --point and --mask need the class that is looked for there. Add --class NAME.")
    if asked.together and not (asked.class_ or asked.against or asked.like):
        raise InvalidArgument("--together needs the classes that are to be one. Add --class A --class B.")


def _named(asked: TargetOptions, names: list[str], region: _Region | None) -> TargetLike:
    """Classes, or what a photo is compared with, by their names."""
    names = list(dict.fromkeys(names))
    each: list[TargetLike]
    if asked.like:
        each = [likeness(name) for name in names]
    elif region is not None:
        # A region belongs to each class: those that are summed are looked for in it too.
        each = [gs.Within(name, **region) for name in names]
    elif asked.together:
        each = [*names]
    else:
        return gs.Classes(*names)
    return (gs.Sum if asked.together else gs.Several)(*each)


def _mask(path: Path) -> NDArray[np.bool_]:
    try:
        # The nearer to white: JPEG and resizing leave greys at the edges of a mask.
        return np.asarray(imaging.read_image(path).convert("L")) > 127
    except ImageError as error:
        raise InvalidArgument(f"--mask must be a picture. {error}") from error


def likeness(text: str) -> gs.Similarity:
    """What a photo is compared with: another one, if there is such a file or it is called like one, or else a text.

    Raises:
        InvalidArgument: there is no such photo.
    """
    if not is_photo(text):
        return gs.Similarity(text=text)
    try:
        # Read now, so that a damaged photo is told before the model is loaded.
        imaging.read_image(text)
    except ImageError as error:
        raise InvalidArgument(f"what a photo is compared with must be a photo or a text. {error}") from error
    return gs.Similarity(image=text)
