"""Pictures inside of a page: photos as small JPEGs or WebPs, and heat as a transparent picture of its own."""

from __future__ import annotations

import io
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from gradsight import imaging
from gradsight.auditing.heat import averaged
from gradsight.results.html import address

Rect: TypeAlias = tuple[float, float, float, float]
"""(left, top, width, height) in pixels of the photo, as SVG has it."""

_LEVELS = 65
"""Steps of heat in a picture. Odd, so that one of them is 0 where both signs count."""

_FINER, _LEAST, _MOST = 4, 28, 96
"""A heat picture has four pixels for each cell of the map, so that colours between two cells are those of an overlay,
and sides from 28 to 96: a finer map is averaged."""


def photo_of(photo: Image.Image, placement: imaging.Placement | None, side: int, quality: int) -> str:
    """A photo made small; grey and dark where the model did not see it, as in an overlay.

    Args:
        photo: RGB.
        placement: where the model's input lies on it.
        side: the longer side in pixels, at most.
        quality: from 1 to 100.
    """
    small = imaging.shrunk(photo, side)
    if placement is not None:
        seen = placement.resized((small.height, small.width)).seen
        small = imaging.dimmed(small, seen)
    form = _form()
    return address(imaging.encoded(small, form, quality=quality), form.lower())


@cache
def _form() -> str:
    # A third smaller than JPEG at the same look; Pillow may be built without it.
    return "WEBP" if features.check("webp") else "JPEG"


def heat_of(heat: NDArray[np.floating], *, signed: bool) -> str:
    """Heat in [0, 1], or in [-1, 1] where signed, as a transparent PNG in the colours of an overlay.

    A browser that enlarges it to the model's input draws what `Explanation.overlay` draws: both interpolate between the
    middles of cells.

    Args:
        heat: (h, w), at the map's resolution.
        signed: both signs count.
    """
    fine = imaging.resize(averaged(heat, tuple(min(_MOST, side) for side in heat.shape)), _size(heat.shape))
    low = -1.0 if signed else 0.0
    levels = np.rint((np.clip(fine, low, 1) - low) / (1 - low) * (_LEVELS - 1)).astype(np.uint8)
    colours, opaque = _ramp(signed)
    picture, file = Image.fromarray(levels), io.BytesIO()
    picture.putpalette(colours)
    picture.save(file, "PNG", transparency=opaque, compress_level=9)
    return address(file.getvalue(), "png")


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = (min(_MOST, max(_LEAST, _FINER * side)) for side in shape)
    return height, width


@cache
def _ramp(signed: bool) -> tuple[bytes, bytes]:
    """The colours of all levels, and how opaque they are."""
    values = np.linspace(-1 if signed else 0, 1, _LEVELS, dtype=np.float32)[None]
    paint = imaging.Paint(imaging.DIVERGING if signed else imaging.DEFAULT, signed=signed)
    # As an overlay draws them, and not from the table: with its opacity, and both signs one over the other.
    drawn = np.asarray(imaging.transparent(values.__getitem__, (1, _LEVELS), paint))[0]
    return drawn[:, :3].tobytes(), drawn[:, 3].tobytes()


def ramp_of(*, signed: bool) -> str:
    """The colours themselves, from the least to the most, on the paper that heat without a photo lies on."""
    values = np.linspace(-1 if signed else 0, 1, 120, dtype=np.float32)
    wide = np.tile(values, (12, 1))
    paint = imaging.Paint(imaging.DIVERGING if signed else imaging.DEFAULT, signed=signed)
    paper = Image.new("RGB", (120, 12), (128, 128, 128))
    return address(imaging.encoded(imaging.draw(paper, wide.__getitem__, paint), "PNG"), "png")
