"""Explanations drawn: signals and volumes with their heat, and all targets of one image in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight import imaging
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.foreign import Array
from gradsight.imaging.signal import PAPER
from gradsight.targets import TargetInfo
from gradsight.values import array_in

if TYPE_CHECKING:
    from gradsight.results.maps import Maps
    from gradsight.results.pictures import Look

__all__ = ["PAPER", "figure", "laid_out", "lowered", "on_input"]

_MOST_LINES = 4
"""How many lines a text under the photo may take in a figure, where the model was asked or wrote something."""

_LINES = 2
"""The same of the name of a target and its score."""

_HEIGHT = 320
"""Of a photo in a figure, in pixels."""

_KINDS = {1: "signal", 2: "photo", 3: "volume"}
"""What stands under that of which nothing is predicted, by its axes."""

_TEXT = 14
"""Size of the letters under signals and volumes, whose height says nothing about the letters'."""


def laid_out(photo: Array, size: Sequence[int], channel_axis: int) -> NDArray[np.generic]:
    """A signal or a volume to draw heat on, with its channels first.

    Args:
        photo: (channels, *size), or another order of these, or (*size): an array or a tensor.
        size: the positions of the model's input.
        channel_axis: where the model's own inputs have their channels; it tells the order where lengths do not.

    Returns:
        (channels, *size).

    Raises:
        InvalidArgument: another shape.
        InvalidType: no numbers.
    """
    size, values = tuple(size), _numbers(photo, size)
    if values.shape == size:
        return values[None]
    # The model's own order first: of (3, 3, 3) lengths say nothing.
    for axis in (channel_axis, 0, values.ndim - 1):
        if values.ndim == len(size) + 1 and values.shape[:axis] + values.shape[axis + 1 :] == size:
            return np.moveaxis(values, axis, 0)
    several = values.ndim == len(size) + 2
    raise InvalidArgument(
        f"`photo` must be what was explained, or as large as it: positions {size}, with or without an axis of "
        f"channels. {received(photo)} "
        + (
            "Pass one of the batch: photo=batch[0]."
            if several
            else "Resample it to these positions, or leave it out to draw the heat alone."
        )
    )


def _numbers(photo: Array, size: tuple[int, ...]) -> NDArray[np.generic]:
    """The values of an array or a tensor of any framework."""
    values = array_in(photo)
    if values is None or values.dtype.kind not in "biuf":
        raise InvalidType(
            f"`photo` must be an array of the positions {size} here, with or without an axis of channels: what was "
            f"explained. {received(photo)} Pass one of the batch, photo=batch[0], or leave it out to draw the heat "
            "alone."
        )
    return values


def on_input(
    heat: imaging.Floats, values: NDArray[np.generic] | None, region: imaging.Region | None, paint: imaging.Paint
) -> Image.Image:
    """A signal as lines over its heat; a volume as slices around the peak.

    Args:
        heat: (t,) or (d, h, w).
        values: (channels, *s), or None to draw the heat alone.
        region: where the heat is, in positions of the heat; None where there is nothing.
        paint: how heat becomes colours.
    """
    if heat.ndim == 1:
        return imaging.signal(heat, values, paint)
    if region is None:
        return imaging.slices(heat, values, paint, middle=len(heat) // 2)
    deep = region.box[3] - region.box[0]
    # Five slices are drawn: they reach over all of a hot area.
    return imaging.slices(heat, values, paint, middle=region.peak[0], step=max(1, -(-(deep - 1) // 4)))


def lowered(photo: Image.Image, height: int | None) -> Image.Image:
    """A photo as high as a figure shows it; one that is no higher than that as it is."""
    height = height or _HEIGHT
    if photo.height <= height:
        return photo
    return imaging.shrunk(photo, max(1, round(max(photo.size) * height / photo.height)))


def figure(
    explanation: Maps,
    image: int,
    pictures: Sequence[Image.Image],
    plain: Image.Image | None,
    height: int | None,
    look: Look,
) -> Image.Image:
    """See `Explanation.figure`.

    Args:
        explanation: what the captions are about.
        image: which image.
        pictures: the heat of each target, drawn.
        plain: what it is drawn on, without heat; None where that is not given.
        height: of each picture; None for what is usual.
        look: how the heat was drawn.
    """
    lead = _caption(explanation, image)
    panels: list[tuple[Image.Image, str | Sequence[str]]] = []
    if plain is not None:
        # What was asked stands under the photo, or, where there is none, under the first heat.
        panels, lead = [(plain, lead or [_KINDS[len(explanation.input_size)]])], []
    for j, picture in enumerate(pictures):
        panels.append((picture, [*lead, *_under(explanation, image, j, look)]))
        lead = []
    wrap = _MOST_LINES if explanation.question or explanation.written else _LINES
    # Text beside a photo grows with the photo; signals are of any height, and their text must be read.
    if len(explanation.input_size) == 2:
        return imaging.strip(panels, height=height or _HEIGHT, wrap=wrap)
    return imaging.strip(panels, height=height or pictures[0].height, wrap=wrap, across=1, text=_TEXT)


def _under(explanation: Maps, image: int, j: int, look: Look) -> list[str]:
    """What stands under the heat of one target: its name and score, and what the two signs of its map speak for."""
    target, signed = explanation.targets[image][j], look.get("signed")
    said = f"{target.label}, score {float(explanation.scores[image, j]):.2f}"
    both = target.signed if signed is None else signed
    return [said, _sides(target, look.get("colormap"))] if both else [said]


def _sides(target: TargetInfo, colormap: str | None) -> str:
    """What the two ends of a signed map's colours speak for: ``"red: for tabby, blue: for lynx"``."""
    low, high = imaging.ends(colormap or imaging.DIVERGING)
    if not target.sides:
        return f"{high}: for it, {low}: against it"
    return f"{high}: for {target.sides[0]}, {low}: for {target.sides[1]}"


def _caption(explanation: Maps, image: int) -> list[str]:
    """What the model was asked, and what it says or wrote."""
    lines = [explanation.question] if explanation.question else []
    if explanation.written:
        return [*lines, explanation.written[image]]
    if not explanation.predictions:
        return lines
    best = explanation.predictions[image][0]
    return [*lines, f"{best.label} {best.probability:.0%}"]
