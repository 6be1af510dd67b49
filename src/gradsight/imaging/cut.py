"""Resize a picture, and cut the model's input out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import ImageError
from gradsight.imaging.placement import Placement
from gradsight.imaging.sizes import offset
from gradsight.limits import PIXELS

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""Pillow's filters by what users call them."""

_WHOLE, _TIMES = 1 << 22, 16
"""Pixels of a whole resized picture that is made for its cut to be taken: so many, or so many times the cut's own."""

_PARTS = 100
"""The parts of a pixel of the picture that a model's input must show one of at least, for its place to be known."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cut:
    """A model's input in the middle of a resized picture.

    Attributes:
        resized: (height, width) of the whole resized picture.
        size: (height, width) of the model's input; where it is the larger one, the picture is padded.
        rounding: where half a pixel is left over, as `Preprocess.rounding`.
    """

    resized: tuple[int, int]
    size: tuple[int, int]
    rounding: str

    @property
    def start(self) -> tuple[int, int]:
        """(top, left) of the input in the resized picture; negative where it is padded."""
        top, left = (offset(have, want, self.rounding) for have, want in zip(self.resized, self.size, strict=True))
        return top, left

    @property
    def inside(self) -> Box:
        """(top, left, bottom, right) of what the input shows of the resized picture."""
        (top, left), (height, width), size = self.start, self.resized, self.size
        return max(top, 0), max(left, 0), min(top + size[0], height), min(left + size[1], width)

    def placement(self, original: tuple[int, int]) -> Placement:
        """Where the input lies on the picture, of (height, width), before it was resized."""
        top, left = self.start
        down, across = original[0] / self.resized[0], original[1] / self.resized[1]
        box = (top * down, left * across, (top + self.size[0]) * down, (left + self.size[1]) * across)
        return Placement(original, self.size, box)


def cut_out(
    picture: Image.Image, cut: Cut, resample: Image.Resampling, fill: NDArray[np.generic]
) -> tuple[Image.Image, Placement]:
    """The model's input, and where it lies on the picture; ``fill`` has a value in [0, 1] for each channel."""
    resized = _resized(picture, cut.resized, cut.inside, resample)
    top, left = (min(start, 0) for start in cut.start)
    placement = cut.placement((picture.height, picture.width))
    height, width = cut.size
    # Most pictures need no padding, and a second copy of them no time.
    if (top, left) == (0, 0) and resized.size == (width, height):
        return resized, placement
    # A grey picture (mode L) takes a number for its colour, one in RGB a tuple.
    colour = tuple(round(float(value) * 255) for value in fill)
    window = Image.new(resized.mode, (width, height), colour if len(colour) > 1 else colour[0])
    window.paste(resized, (-left, -top))
    return window, placement


def check_share(original: tuple[int, int], resized: tuple[int, int], size: tuple[int, int]) -> None:
    """See that a model's input is not gigantic, and shows something of the picture."""
    PIXELS.check(size[0] * size[1], f"The model's input is too large: {size[1]} x {size[0]} pixels", ImageError)
    if any(_PARTS * own * cut < whole for own, cut, whole in zip(original, size, resized, strict=True)):
        raise ImageError(
            f"A picture of {original[1]} x {original[0]} pixels is too narrow to crop: resized, it would measure "
            f"{resized[1]} x {resized[0]}, and {size[1]} x {size[0]} of that show nothing. Use fit='letterbox' or "
            "fit='squash'."
        )


def _resized(picture: Image.Image, size: tuple[int, int], inside: Box, resample: Image.Resampling) -> Image.Image:
    """What lies inside of a box (top, left, bottom, right) of a picture that is resized to ``size`` (height, width).

    The whole is resized and then cut, as torchvision does it, unless that would be gigantic: then only what is cut out
    is made. Pillow holds its box in single precision and takes the axes in an order of its own, so that values differ a
    little from those of the whole.
    """
    height, width = size
    top, left, bottom, right = inside
    rows, columns = bottom - top, right - left
    # Values are those of torchvision to the bit wherever the whole can be made.
    if height * width <= max(_WHOLE, _TIMES * rows * columns):
        whole = picture.resize((width, height), resample)
        return whole if (rows, columns) == size else whole.crop((left, top, right, bottom))
    down, across = picture.height / height, picture.width / width
    # At the far ends rounding may reach beyond the picture, which Pillow refuses.
    box = (left * across, top * down, min(right * across, picture.width), min(bottom * down, picture.height))
    return picture.resize((columns, rows), resample, box)
