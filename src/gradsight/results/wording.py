"""Numbers and positions in words, for people: on a terminal, in a picture, on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

_AXES = {1: ("sample",), 2: ("row", "column"), 3: ("slice", "row", "column")}


def share(value: float) -> str:
    """A share in per cent.

    >>> share(0.731), share(1e-9), share(float("nan"))
    ('73%', '<1%', 'not a number')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    # "0%" of what is not 0 would read as "not at all".
    return f"{value:.0%}" if value >= 0.005 or not value else "<1%"


def chances(explanation: Explanation) -> dict[int, float]:
    """The probabilities of an explanation's first image by class; the best few classes alone have one."""
    return {one.index: one.probability for one in explanation.predictions[0]} if explanation.predictions else {}


def place(layers: Sequence[str]) -> str:
    """Of which layers a map is, in words.

    >>> place(["layer4"]), place([])
    ('at layer layer4', 'of the image itself')
    """
    if not layers:
        return "of the image itself"
    return f"at {len(layers)} layers, {layers[0]} to {layers[-1]}" if len(layers) > 1 else f"at layer {layers[0]}"


def where(target: Mapping[str, Any], size: Sequence[int]) -> str:
    """Where a target's heat is.

    Args:
        target: its part of a record.
        size: of what positions are in: (height, width) of a photo.
    """
    speaks = "no place speaks for it"
    if target["peak"] is not None:
        speaks = f"strongest at {position(target['peak'], size)}; the hot area is {share(target['area'])} of the photo"
    against = target["against"]
    if against is None or against["peak"] is None:
        return speaks
    return f"{speaks}; most against it at {position(against['peak'], size)}"


def position(peak: Sequence[int], size: Sequence[int]) -> str:
    """A position by its numbers, and in a picture by thirds too.

    >>> position((128, 320), (448, 448))
    'row 128, column 320 (top right)'
    """
    numbers = ", ".join(f"{axis} {number}" for axis, number in zip(_AXES[len(peak)], peak, strict=True))
    return f"{numbers} ({corner(peak, size)})" if len(peak) == 2 else numbers


def _third(at: int, length: int) -> int:
    # A stranger's run may say that it is hot beside the photo.
    return min(max(0, 3 * at // length), 2)


def corner(peak: Sequence[int], size: Sequence[int]) -> str:
    """A position by thirds of the photo, or by its numbers where a model makes something else of photos."""
    if len(peak) != 2:
        return position(peak, size)
    # Nine words are enough to see whether two maps agree; the numbers stand in the record.
    down = ("top", "middle", "bottom")[_third(peak[0], size[0])]
    across = ("left", "centre", "right")[_third(peak[1], size[1])]
    return "centre" if (down, across) == ("middle", "centre") else f"{down} {across}"
