"""A photo and its heat as a browser lays them on each other: small, and without colours yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gradsight import imaging
from gradsight.imaging.colour import colormap

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

SIDE = 480
"""Pixels of the photo's longer side: a widget is one of many things on a page, and its bytes go over a line."""

_HEAT_SIDE = 240
"""Of the heat's; it is smooth, and the browser makes it as large as the photo."""

ONE_SIDED = ("plasma", "viridis", "inferno", "magma", "turbo", "jet", "cividis", "hot", "gray")
"""Colour maps that a browser chooses from, for heat of one sign."""

TWO_SIDED = ("bwr", "coolwarm", "seismic", "PiYG", "RdBu_r")
"""The same for heat of both signs."""


@dataclass(frozen=True)
class Canvas:
    """What a browser draws.

    Attributes:
        photo: a JPEG.
        heat: a PNG: red is how hot, green how hot against it, blue where the model saw anything at all.
        signed: whether there is heat of both signs.
    """

    photo: bytes
    heat: bytes
    signed: bool


def canvas_of(explanation: Explanation, image: int, target: int) -> Canvas:
    """One map, to be drawn elsewhere.

    Raises:
        InvalidArgument: the map is none of a picture.
    """
    small = _smaller(explanation, image)
    photo = small.photos[0]
    heat = small.on_photo(0, target)
    # In the heat's own picture, so that the browser needs no geometry.
    seen = np.zeros(heat.shape, np.uint8)
    top, left, bottom, right = small.placements[0].seen
    seen[top:bottom, left:right] = 255
    levels = np.rint(255 * np.stack([np.clip(heat, 0, 1), np.clip(-heat, 0, 1)])).astype(np.uint8)
    channels = Image.fromarray(np.dstack([levels[0], levels[1], seen]))
    # Grey where the model saw nothing, as in an overlay: the browser only adds the heat.
    dimmed = imaging.dimmed(photo, (top, left, bottom, right))
    return Canvas(
        photo=imaging.encoded(dimmed, "JPEG", quality=85),
        heat=imaging.encoded(imaging.shrunk(channels, _HEAT_SIDE), "PNG"),
        signed=explanation.targets[image][target].signed,
    )


def tables(signed: bool) -> dict[str, str]:
    """Colour maps by name: of each 256 colours, as hexadecimal digits."""
    names = TWO_SIDED if signed else ONE_SIDED
    return {name: np.rint(colormap(name) * 255).astype(np.uint8).tobytes().hex() for name in names}


def _smaller(explanation: Explanation, image: int) -> Explanation:
    """The explanation of one image, on its photo made small; without a photo, on dark paper as large as the input."""
    from gradsight.results.explanation import of_image

    one = of_image(explanation, image)
    # As figures show arrays: dark, on which every colour map is seen.
    if not one.placements:
        height, width = one.input_size
        whole = imaging.Placement.whole((height, width), (height, width))
        one = replace(one, photos=(Image.new("RGB", (width, height), (30, 30, 30)),), placements=(whole,))
    photo = imaging.shrunk(one.photos[0], SIDE)
    placed = one.placements[0].resized((photo.height, photo.width))
    return replace(one, photos=(photo,), placements=(placed,))
