"""A heatmap drawn over its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.imaging.colour import DEFAULT, colorize
from gradsight.imaging.resample import stretched
from gradsight.rules import Array, Choice, Either, Flag, Number, Rule
from gradsight.values import array_in

_BAND = 1 << 20
"""Pixels drawn at once, so that a 24-megapixel photo needs no float copies of itself."""

# By looking: at 0.75 the object under the hottest spot is still recognised, and the exponent below 1 makes half the
# heat visible on busy photos while the faint rest stays clear.
_OPAQUEST, _CURVE = 0.75, 0.8

_LINES = 160
"""The shorter side of a picture in widths of a box's line."""

# What the model did not see: _DIMMED * luma + _VEIL. The veil shows on dark photos, where dimming alone does not.
_DIMMED, _VEIL = 0.35, 40


def overlay(
    image: Image.Image | NDArray[Any],
    heatmap: NDArray[Any],
    *,
    colormap: str = DEFAULT,
    opacity: str | float = "value",
    seen: tuple[int, int, int, int] | None = None,
    signed: bool = False,
) -> Image.Image:
    """Draw a heatmap over its picture.

    Args:
        image: a PIL image, or an array of shape (H, W, 3), uint8 or floats in [0, 1].
        heatmap: (h, w) in [0, 1], or in [-1, 1] if ``signed``; brought to the picture's size by interpolation. NaN
            counts as 0, what lies outside the range is clipped.
        colormap: a colour map's name; give a diverging one, such as ``colour.DIVERGING``, if ``signed``.
        opacity: ``"value"``: the hotter (if signed: the farther from 0), the less of the photo shows through, at 0 all
            of it; or a constant from 0 (the photo alone) to 1 (the colours alone).
        seen: (top, left, bottom, right) in pixels of what the model saw; outside, the photo is drawn grey and dark and
            without heat, so that nobody takes it for a place without evidence.
        signed: values below 0 speak against the target.

    Returns:
        An RGB image of the picture's size.

    Raises:
        InvalidArgument: a heatmap of another shape, or an opacity outside [0, 1].
        UnknownName: there is no such colour map or opacity.
    """
    opacity = taken("opacity", opacity, OPACITY, "Pass 0.5.")
    signed = taken("signed", signed, Flag())
    if not isinstance(image, Image.Image):
        image = _pixels(image)
    heatmap = taken("heatmap", heatmap, _HEATMAP, "Pick one image and one target.").astype(np.float32)
    size = image.size[::-1] if isinstance(image, Image.Image) else image.shape[:2]
    heat = np.nan_to_num(heatmap, nan=0.0, posinf=1.0, neginf=-1.0)
    rows = heat.__getitem__ if heat.shape == size else stretched(heat, size)
    return draw(image, rows, colormap=colormap, opacity=opacity, seen=seen, signed=signed)


def draw(
    image: Image.Image | NDArray[Any],
    heat: Callable[[slice], NDArray[Any]],
    *,
    colormap: str,
    opacity: str | float,
    seen: tuple[int, int, int, int] | None = None,
    signed: bool = False,
) -> Image.Image:
    """`overlay` of a heatmap that is given row by row, so that nothing of the picture's size is made in floats.

    Args:
        image: a PIL image, or an array (H, W, 3), uint8 or floats in 0..255.
        heat: from a slice of rows to the heat there, (number of rows, W), finite.
        colormap: as in `overlay`.
        opacity: as in `overlay`.
        seen: as in `overlay`.
        signed: as in `overlay`.
    """
    height, width = image.size[::-1] if isinstance(image, Image.Image) else image.shape[:2]
    drawn = np.empty((height, width, 3), np.uint8)
    step = max(1, _BAND // width)
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        photo = _rows(image, rows)
        band = np.clip(heat(rows).astype(np.float32, copy=False), -1 if signed else 0, 1)
        drawn[rows] = _blend(photo, band, colormap, opacity, signed)
        if seen is not None:
            _dim_outside(drawn[rows], photo, first, seen)
    return Image.fromarray(drawn)


OPACITY: Rule[str | float] = Either[str | float](
    (Choice(("value",), "opacity", "Or pass a number from 0 to 1."), Number(0, 1))
)
"""What opacities there are."""

_HEATMAP = Array((2,), "an array of shape (h, w)")


def outlined(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    """Draw a box on a picture, light on dark so that it is seen on any photo; one of a few pixels gets room around it.

    Args:
        picture: RGB.
        box: (top, left, bottom, right) in its pixels, the latter two exclusive.
    """
    width = max(1, round(min(picture.size) / _LINES))
    # the lines lie around the box, and stay in the picture where it reaches beyond
    room = max(0, 2 * width - min(box[2] - box[0], box[3] - box[1])) + width
    top, left = (max(0, round(x - room)) for x in box[:2])
    bottom, right = (min(size, round(x + room)) - 1 for x, size in zip(box[2:], picture.size[::-1], strict=True))
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    if bottom > top and right > left:
        draw.rectangle((left, top, right, bottom), outline="black", width=2 * width)
        draw.rectangle((left, top, right, bottom), outline="white", width=width)
    return drawn


def _pixels(image: Any) -> NDArray[Any]:
    """The photo as (H, W, 3): uint8, or floats on the scale 0..255."""
    found = array_in(image)
    if found is None or found.dtype.kind not in "buif" or found.shape[2:] != (3,) or found.size == 0:
        raise InvalidArgument(f"`image` must be an RGB picture of shape (H, W, 3). {received(image)} Use read_image.")
    return found if found.dtype == np.uint8 else np.clip(found, 0, 1).astype(np.float32) * np.float32(255)


def _rows(image: Image.Image | NDArray[Any], rows: slice) -> NDArray[Any]:
    if isinstance(image, Image.Image):
        return np.asarray(image.crop((0, rows.start, image.width, rows.stop)).convert("RGB"))
    return image[rows]


def _blend(
    photo: NDArray[Any], heat: NDArray[np.float32], colormap: str, opacity: str | float, signed: bool
) -> NDArray[np.uint8]:
    colours = colorize((heat + 1) / 2 if signed else heat, colormap) * np.float32(255)
    alpha = np.float32(_OPAQUEST) * np.abs(heat) ** np.float32(_CURVE) if isinstance(opacity, str) else opacity
    mixed = photo + np.asarray(alpha, np.float32)[..., None] * (colours - photo)
    drawn: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return drawn


def _dim_outside(drawn: NDArray[np.uint8], photo: NDArray[Any], first: int, seen: tuple[int, int, int, int]) -> None:
    """Replace what lies outside ``seen`` by a grey, dark version of the photo, in rows of which the first is given."""
    whole = photo if photo.dtype == np.uint8 else np.rint(photo).astype(np.uint8)
    grey = Image.fromarray(whole).convert("L").point([round(_DIMMED * value + _VEIL) for value in range(256)])
    top, left, bottom, right = seen
    inside = np.zeros(drawn.shape[:2], bool)
    inside[max(top - first, 0) : max(bottom - first, 0), left:right] = True
    np.copyto(drawn, np.asarray(grey)[..., None], where=~inside[..., None])
