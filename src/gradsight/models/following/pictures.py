"""Pictures that tell what is done with them, and how far apart two results are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.imaging import Placement

SIDES = ((97, 131), (150, 101), (301, 447), (447, 233), (211, 640), (180, 180))
"""(height, width) of pictures that tell ways of resizing and cutting apart: odd, wide, high, small and large."""

ROUNDING = 1.01
"""How many grey levels rounding may change."""

_NEAR = 1.25
"""How many pixels a result may be displaced: picking pixels displaces by up to one, and so does rounding a border."""

# Other waves in each channel and on each axis, so that a mirrored picture or swapped channels look different.
_WAVES = ((9, 5), (3, 11), (13, 2))


def smooth(sides: tuple[int, int]) -> Image.Image:
    """Colours that differ everywhere, smoothly, so that a shift by a pixel is seen and the filter's rounding is not."""
    down, across = (np.arange(side, dtype=np.float32) / side for side in sides)
    # no more of a wave than the pixels of a small picture can show
    rates = [[min(rate, side / 8) for rate, side in zip(wave, sides, strict=True)] for wave in _WAVES]
    waves = [(128 + 100 * np.sin(np.add.outer(a * down, b * across))).astype(np.uint8) for a, b in rates]
    return Image.fromarray(np.stack(waves, axis=-1))


def plain(colour: str, sides: tuple[int, int] = SIDES[0]) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", sides[::-1], colour)


def ramp(sides: tuple[int, int], axis: int) -> Image.Image:
    """A grey picture that goes from black to white, downwards (axis 0) or to the right."""
    values = np.linspace(0, 255, sides[axis]).round().astype(np.uint8)
    grey = np.broadcast_to(values[:, None] if axis == 0 else values, sides)
    return Image.fromarray(np.stack([grey] * 3, axis=-1))


class Gap(NamedTuple):
    """How far a result is from the wanted one.

    Attributes:
        grey: the largest difference, in grey levels of the picture.
        mean: the mean one.
        where: (row, column) of the largest.
        pixels: how far the result is displaced, at the worst corner, in pixels of the picture or of the result,
            whichever are the larger. Infinite where the difference is none of a displacement.
    """

    grey: float
    mean: float
    where: tuple[int, int]
    pixels: float

    @property
    def same(self) -> bool:
        """To one grey level, which is what rounding may do."""
        return self.grey <= ROUNDING

    @property
    def near(self) -> bool:
        """The same picture at the same place, to about a pixel, by another filter or rounding."""
        return self.same or self.pixels <= _NEAR


APART = Gap(np.inf, np.inf, (0, 0), np.inf)


def gap(
    found: NDArray[np.floating], wanted: NDArray[np.floating], placement: Placement, level: NDArray[np.floating]
) -> Gap:
    """How far ``found`` is from ``wanted``, both (height, width, channels), of which a grey level is ``level``."""
    if found.shape != wanted.shape:
        return APART
    found, wanted = found / level.astype(found.dtype), wanted / level.astype(wanted.dtype)
    off = np.abs(found - wanted).max(axis=-1)
    row, column = np.unravel_index(off.argmax(), off.shape)
    grey, mean = float(off.max()), float(off.mean())
    moved = 0.0 if grey <= ROUNDING else _moved(found, wanted, placement)
    return Gap(grey, mean, (int(row), int(column)), moved)


def _moved(found: NDArray[np.floating], wanted: NDArray[np.floating], placement: Placement) -> float:
    top, left, bottom, right = placement.box
    zoom = (wanted.shape[0] / (bottom - top), wanted.shape[1] / (right - left))  # pixels of the result per photo's
    allowed = [max(1.0, times) for times in zoom]
    reach = [int(np.ceil(0.5 * max(1.0, times) + 0.5)) for times in zoom]
    window = (2 * reach[0] + 1, 2 * reach[1] + 1, 1)
    from scipy import ndimage  # a fifth of a second, and most models come with a preprocessing that is known

    low, high = ndimage.minimum_filter(wanted, window) - 1.5, ndimage.maximum_filter(wanted, window) + 1.5
    outside = ((found < low) | (found > high)).any(axis=-1)
    # at the border a filter may know more of the picture, or less, and no neighbours tell which values are near
    if outside[reach[0] : -reach[0], reach[1] : -reach[1]].mean() > 0.005:
        return np.inf
    return max(float(shift / most) for shift, most in zip(displacement(found, wanted), allowed, strict=True))


def displacement(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> tuple[float, float]:
    """How far ``found`` is moved, stretched or turned against ``wanted``: down and across, at the worst corner.

    The difference is explained by the slopes of ``wanted`` times a displacement that is linear in the position.
    """
    # Some 300 pixels a side are enough for six numbers, and spare memory.
    step = max(1, max(wanted.shape[:2]) // 300)
    slopes = [np.gradient(wanted, axis=axis)[::step, ::step] for axis in (0, 1)]
    down, across = np.meshgrid(*(np.linspace(-1, 1, n) for n in slopes[0].shape[:2]), indexing="ij")
    basis = [slope * by[..., None] for slope in slopes for by in (np.ones_like(down), down, across)]
    off = (found - wanted)[::step, ::step]
    terms = np.stack([x.ravel() for x in basis], axis=-1).astype(np.float64)
    moved = np.abs(np.linalg.lstsq(terms, off.ravel().astype(np.float64), rcond=None)[0])
    return float(moved[:3].sum()), float(moved[3:].sum())


def unlike(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """How much two pictures of one shape differ in the means over their parts, which hardly depend on the filter."""
    off = found - wanted
    parts = [max(2, min(16, side // 8)) for side in off.shape[:2]]
    for axis, count in enumerate(parts):
        if off.shape[axis] >= count:
            off = np.stack([part.mean(axis=axis) for part in np.array_split(off, count, axis=axis)], axis=axis)
    return float(np.sqrt((off**2).mean()))
