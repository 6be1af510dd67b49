"""A heatmap drawn over its picture, in 8 bits: nothing of the picture's size is made in floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.imaging.colour import DEFAULT
from gradsight.imaging.colour import colormap as table_of
from gradsight.imaging.resample import Floats, bands, stretched
from gradsight.rules import Array, Choice, Either, Flag, Number, Rule, Whole
from gradsight.values import array_in

Rows = Callable[[slice], Floats]
"""From a slice of rows of a picture to the heat there, (number of rows, width), finite."""

# By looking: at 0.75 the object under the hottest spot is still recognised, and the exponent below 1 makes half the
# heat visible on busy photos while the faint rest stays clear.
_OPAQUEST, _CURVE = 0.75, 0.8

_LINES = 160
"""The shorter side of a picture in widths of a box's line."""

# What the model did not see: _DIMMED * luma + _VEIL. The veil shows on dark photos, where dimming alone does not.
_DIMMED, _VEIL = 0.35, 40

_LEVELS = np.arange(256) / 255
"""Heat is drawn in as many steps as a picture has grey levels."""

OPACITY: Rule[str | float] = Either[str | float](
    (Choice(("value",), "opacity", "Or pass a number from 0 to 1."), Number(0, 1))
)
"""What opacities there are."""

MAX_SIDE = Whole(1, 1 << 20)
"""Of a drawn picture's longer side, in pixels."""

_HEATMAP = Array((2,), "an array of shape (h, w)")


@dataclass(frozen=True)
class Paint:
    """How heat becomes colours.

    Attributes:
        colormap: a colour map's name; a diverging one, such as ``colour.DIVERGING``, if ``signed``.
        opacity: ``"value"``: the hotter (if signed: the farther from 0), the less of the photo shows through, at 0 all
            of it; or a constant from 0 (the photo alone) to 1 (the colours alone).
        signed: values below 0 speak against the target.

    Raises:
        InvalidArgument: an opacity outside [0, 1].
        UnknownName: there is no such colour map or opacity.
    """

    colormap: str = DEFAULT
    opacity: str | float = "value"
    signed: bool = False

    def __post_init__(self) -> None:
        # Here and not where it is drawn: a mistake shows before a folder of photos is explained.
        object.__setattr__(self, "opacity", taken("opacity", self.opacity, OPACITY, "Pass 0.5."))
        object.__setattr__(self, "signed", taken("signed", self.signed, Flag()))
        table_of(self.colormap)  # which knows what names there are

    @property
    def by_value(self) -> bool:
        """Whether the opacity follows the heat."""
        return isinstance(self.opacity, str)

    def layers(self, heat: Floats) -> Iterator[tuple[Image.Image, Image.Image]]:
        """The heat of some rows in colours (RGB), with how opaque they are (L), to lay on the photo one after another.

        A signed heat whose opacity follows the value is laid on in two: at any pixel one of them is transparent, and
        each has all 256 levels.
        """
        if not self.signed:
            yield self._layer(heat, _LEVELS)
        elif not self.by_value:
            yield self._layer((heat + 1) / 2, _LEVELS * 2 - 1)
        else:
            yield self._layer(heat, _LEVELS)
            yield self._layer(-heat, -_LEVELS)

    def _layer(self, heat: Floats, means: NDArray[np.float64]) -> tuple[Image.Image, Image.Image]:
        """Heat in [0, 1] as colours; ``means`` says which value each of 256 levels stands for."""
        # In a few rows at a time these floats stay in the cache; of a whole photo they would be 48 MB each.
        level = Image.fromarray((np.clip(heat, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8))
        colours = _between(table_of(self.colormap), (means + 1) / 2 if self.signed else means)
        opaque = _OPAQUEST * np.abs(means) ** _CURVE if isinstance(self.opacity, str) else np.full(256, self.opacity)
        alpha = level.point(_bytes(opaque).tolist())
        level.putpalette(_bytes(colours).tobytes())  # a look-up by Pillow, which is ten times as quick as NumPy's
        return level.convert("RGB"), alpha


def overlay(
    image: Image.Image | NDArray[np.uint8] | Floats,
    heatmap: Floats,
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

    >>> drawn = overlay(np.zeros((4, 6, 3)), np.array([[0.0, 1.0]]), opacity=1.0, colormap="gray")
    >>> drawn.size, drawn.getpixel((0, 0)), drawn.getpixel((5, 0))
    ((6, 4), (0, 0, 0), (255, 255, 255))
    """
    paint = Paint(colormap, opacity, signed)
    photo = image if isinstance(image, Image.Image) else _picture(image)
    heatmap = taken("heatmap", heatmap, _HEATMAP, "Pick one image and one target.").astype(np.float32)
    size = (photo.height, photo.width)
    # Before the interpolation, in which one NaN would spread.
    heat = np.nan_to_num(heatmap, nan=0.0, posinf=1.0, neginf=-1.0)
    rows = heat.__getitem__ if heat.shape == size else stretched(heat, size)
    return draw(photo, rows, paint, seen=seen)


def draw(image: Image.Image, heat: Rows, paint: Paint, *, seen: tuple[int, int, int, int] | None = None) -> Image.Image:
    """As `overlay`, but the heat is made some rows at a time, so that it is never held in the photo's size.

    Args:
        image: a PIL image.
        heat: from a slice of rows to the heat there.
        paint: how it is drawn.
        seen: as in `overlay`.
    """
    # Drawn on as it is where it can be: a copy of a 12-megapixel photo is 48 MB.
    photo = image if image.mode == "RGB" else image.convert("RGB")
    top, left, bottom, right = seen or (0, 0, photo.height, photo.width)
    # Only what was not seen is dimmed. Heat is drawn in the seen part alone: a constant opacity would veil the rest.
    drawn = photo.copy() if (top, left, bottom, right) == (0, 0, photo.height, photo.width) else _dimmed(photo)
    for rows in bands((bottom - top, photo.width)):
        first, last = rows.start + top, rows.stop + top
        # A crop is small here: Pillow compares its size to a limit that belongs to the whole process.
        band = photo.crop((left, first, right, last))
        for colours, alpha in paint.layers(heat(slice(first, last))[:, left:right]):
            band.paste(colours, (0, 0), alpha)
        drawn.paste(band, (left, first))
    return drawn


def dimmed(photo: Image.Image, seen: tuple[int, int, int, int]) -> Image.Image:
    """A photo (RGB) without heat, grey and dark where the model did not see it, as `draw` has it.

    Args:
        photo: no larger than a screen.
        seen: as in `overlay`.
    """
    top, left, bottom, right = seen
    drawn = _dimmed(photo)
    drawn.paste(photo.crop((left, top, right, bottom)), (left, top))
    return drawn


def transparent(heat: Rows, size: tuple[int, int], paint: Paint) -> Image.Image:
    """A heatmap of ``size`` (height, width) alone, transparent where there is nothing of it: an RGBA picture."""
    drawn = Image.new("RGBA", size[::-1])
    for rows in bands(size):
        band = Image.new("RGBA", (size[1], rows.stop - rows.start))
        for colours, alpha in paint.layers(heat(rows)):
            # Composited, not pasted: of a signed heat the second layer must not wipe out the first.
            colours.putalpha(alpha)
            band.alpha_composite(colours)
        drawn.paste(band, (0, rows.start))
    return drawn


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


def shrunk(picture: Image.Image, max_side: int | None) -> Image.Image:
    """A picture whose longer side has at most so many pixels; itself where it has no more."""
    if max_side is None or max(picture.size) <= max_side:
        return picture
    longer = max(picture.size)
    width, height = (max(1, round(side * max_side / longer)) for side in picture.size)
    # The gap makes a large photo small in two steps, of which the first is quick.
    return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _between(table: NDArray[np.float32], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours of values in [0, 1], (n, 3), interpolated between those of a table (m, 3).

    Levels of a signed heat fall between entries of the table, and the nearest one may be two grey levels off.
    """
    places = values * (len(table) - 1)
    return np.stack([np.interp(places, np.arange(len(table)), channel) for channel in table.T], axis=1)


def _picture(image: NDArray[np.uint8] | Floats) -> Image.Image:
    """A photo that is given as an array (H, W, 3): uint8, or floats in [0, 1]."""
    found = array_in(image)
    if found is None or found.dtype.kind not in "buif" or found.shape[2:] != (3,) or found.size == 0:
        raise InvalidArgument(f"`image` must be an RGB picture of shape (H, W, 3). {received(image)} Use read_image.")
    return Image.fromarray(found if found.dtype == np.uint8 else _bytes(np.clip(found, 0, 1).astype(np.float32)))


def _bytes(units: Floats) -> NDArray[np.uint8]:
    """Values in [0, 1] as bytes."""
    made: NDArray[np.uint8] = np.rint(units * np.float32(255)).astype(np.uint8)
    return made


def _dimmed(photo: Image.Image) -> Image.Image:
    """A grey, dark version of a photo, for what the model did not see of it."""
    return photo.convert("L").point([round(_DIMMED * value + _VEIL) for value in range(256)]).convert("RGB")
