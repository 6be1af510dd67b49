"""A volume or a video drawn as some of its slices, with their heat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import InvalidArgument, received
from gradsight.imaging.overlay import Paint, draw
from gradsight.imaging.panel import strip
from gradsight.imaging.region import nan_to_zero
from gradsight.imaging.resample import Floats, stretched
from gradsight.imaging.signal import PAPER

_BESIDE = 2
"""Slices on each side of the middle one."""

_SMALLEST, _LARGEST = 160, 480
"""The longer side of a slice, in pixels: smaller ones are enlarged by a whole number."""

_TEXT = 12
"""Size of the letters under a slice."""


def slices(
    heat: Floats,
    values: NDArray[np.generic] | None = None,
    paint: Paint | None = None,
    *,
    middle: int,
    step: int = 1,
) -> Image.Image:
    """Draw slices along the first axis side by side, each over its index, counted from 0.

    Args:
        heat: (d, h, w) in [0, 1], or in [-1, 1] if ``paint`` is signed.
        values: (c, d, h, w), grey where c is 1 and RGB where it is 3, from black for the least to white for the largest
            of all values. None to draw the heat alone.
        paint: how heat becomes colours; by default as in `overlay`.
        middle: the slice in the middle of the picture; where one beside it would lie outside, its place stays empty.
        step: from each slice to the next.

    Returns:
        An RGB image.

    Raises:
        InvalidArgument: neither one channel nor three.
    """
    if values is not None and len(values) not in (1, 3):
        raise InvalidArgument(
            "`photo` must have one channel, or three that are red, green and blue, to be drawn as slices. "
            f"{received(values)} Pass one of its channels without their axis, such as photo[0]."
        )
    count, beside = len(heat), min(_BESIDE, len(heat) - 1)
    shown = [middle + place * step for place in range(-beside, beside + 1)]
    papers = _papers(heat, values, [index for index in shown if 0 <= index < count])
    panels: list[tuple[Image.Image, str]] = []
    for index in shown:
        if index in papers:
            paper = papers[index]
            rows = stretched(nan_to_zero(heat[index]), paper.size[::-1])
            panels.append((draw(paper, rows, paint or Paint()), f"slice {index}"))
        else:
            panels.append((Image.new("RGB", papers[middle].size, "white"), ""))
    return strip(panels, height=papers[middle].height, across=len(panels), text=_TEXT)


def _papers(heat: Floats, values: NDArray[np.generic] | None, indices: list[int]) -> dict[int, Image.Image]:
    """What the heat of each slice is drawn on."""
    if values is None:
        height, width = heat.shape[1:]
        return {index: _sized(Image.new("RGB", (width, height), PAPER)) for index in indices}
    # One range for all slices: by its own, an empty slice would look as full of contrast as the others.
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    found = {}
    for index in indices:
        shown = np.nan_to_num(values[:, index].astype(np.float64), nan=low, posinf=high, neginf=low)
        # Values that are all the same say nothing of black or white.
        grey = np.rint(255 * (shown - low) / (high - low)) if high > low else np.full(shown.shape, 128)
        found[index] = _sized(
            Image.fromarray(np.moveaxis(np.broadcast_to(grey, (3, *grey.shape[1:])), 0, 2).astype(np.uint8))
        )
    return found


def _sized(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    if longer > _LARGEST:
        width, height = (max(1, round(side * _LARGEST / longer)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.BOX)
    # By a whole number, and without smoothing, so that a voxel is seen as the square that it is.
    times = -(-_SMALLEST // longer)
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
