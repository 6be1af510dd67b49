"""What is to be explained, from the options that say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import gradsight as gs
from gradsight import imaging
from gradsight.cli.options import TargetOptions
from gradsight.cli.parsing import positions
from gradsight.errors import ImageError, InvalidArgument
from gradsight.photos import is_photo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradsight.targets import Target, TargetLike


def targets_of(asked: TargetOptions) -> TargetLike:
    """What is to be explained.

    Raises:
        InvalidArgument: options that exclude each other, or a mask that cannot be read.
    """
    _check(asked)
    chosen = asked.class_ or asked.like
    if chosen:
        target: TargetLike = _named(asked, chosen)
    elif asked.against:
        target = gs.Against(_named(asked, asked.against))
    else:
        target = gs.Top(asked.top or 1)
    return gs.Contrast(target, _named(asked, asked.rather_than)) if asked.rather_than else target


def _check(asked: TargetOptions) -> None:
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
    if not (asked.class_ or asked.against) and _has_region(asked):
        raise InvalidArgument("--box, --point and --mask need the class that is looked for there. Add --class NAME.")
    if asked.together and not (asked.class_ or asked.against or asked.like):
        raise InvalidArgument("--together needs the classes that are to be one. Add --class A --class B.")


def _has_region(asked: TargetOptions) -> bool:
    return any(value is not None for value in (asked.box, asked.point, asked.mask))


def _named(asked: TargetOptions, names: list[str]) -> Target:
    """Classes, or what a photo is compared with, by their names."""
    names = list(dict.fromkeys(names))
    if not (asked.like or asked.together or _has_region(asked)):
        return gs.Classes(*names)
    each = list(map(_one(asked), names))
    return (gs.Sum if asked.together else gs.Several)(*each)


def _one(asked: TargetOptions) -> Callable[[str], str | Target]:
    if asked.like:
        return likeness
    if not _has_region(asked):
        return str
    box, point = positions(asked.box, "--box", 4), positions(asked.point, "--point", 2)
    mask = None if asked.mask is None else _mask(asked.mask)
    return lambda name: gs.Within(name, mask=mask, box=box, point=point)


def _mask(path: Path) -> NDArray[np.bool_]:
    try:
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
        imaging.read_image(text)
    except ImageError as error:
        raise InvalidArgument(f"what a photo is compared with must be a photo or a text. {error}") from error
    return gs.Similarity(image=text)
