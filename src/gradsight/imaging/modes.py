"""Turn every kind of pixel into 8-bit RGB.

Pillow holds a pixel of RGB in four bytes, and not much more is held here: what needs other numbers on the way is
converted in strips, and a picture is let go of as soon as a smaller one says the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import ImageError, received

_SLACK = 1e-3
"""How far float arrays may leave [0, 1]: resampling overshoots a little."""

_STRIP = 1 << 18
"""Pixels that are converted at once."""


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to RGB. It is used up: changed, or closed.

    Transparency is laid over white: a cut-out or an icon is made for, and looked at on, a white page, and the colours
    stored under transparent pixels are arbitrary, so that dropping the alpha would show what nobody sees.

    Args:
        picture: 16-bit modes (I;16, and I, which must stay within 0..65535) are divided by 257. Float pixels (F) are
            read as [0, 1] when all are at most 1, else as 0..255, which is what Pillow's own conversion to F gives.

    Raises:
        ImageError: NaN, infinite or out-of-range pixels.
    """
    # Modes with more than 8 bits come first: Pillow's own conversion of them cuts values off, and does not divide.
    if picture.mode == "F":
        return _from_floats(picture)
    if picture.mode == "I" or picture.mode.startswith("I;"):
        size = (picture.height, picture.width)
        return _grey(picture, _bytes_of_16_bit(size, lambda: _strips_of(picture)))
    if picture.has_transparency_data:
        return _over_white(picture)
    # Without a copy, and without the file that it came from.
    return picture._new(picture.im) if picture.mode == "RGB" else picture.convert("RGB")


def opacity(picture: Image.Image) -> NDArray[np.uint8] | None:
    """How opaque each pixel of a PIL image is: (h, w), 0 to 255; None where its mode knows no transparency."""
    if picture.mode == "La":
        picture = picture.convert("LA")
    if not picture.has_transparency_data:
        return None
    return np.asarray((picture if picture.mode in ("LA", "RGBA") else picture.convert("RGBA")).getchannel("A"))


def marked(picture: Image.Image, least: int) -> NDArray[np.bool_]:
    """Where a PIL image is not black, and not transparent: (h, w).

    Args:
        picture: of any mode; of a palette the colours count, not their numbers.
        least: of modes of 8 bits, the value of a channel from which on it counts.
    """
    # As they are: divided into 8 bits, the low numbers that things have in masks of 16 bits would be 0.
    if picture.mode in ("1", "F", "I") or picture.mode.startswith("I;"):
        return np.asarray(np.asarray(picture) != 0)
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    bands = np.asarray(picture).reshape(picture.height, picture.width, -1)
    colours = (bands[..., :3] >= least).any(axis=-1)
    return np.asarray(colours & (bands[..., 3] > 0) if bands.shape[-1] == 4 else colours)


def array_to_rgb(values: NDArray[Any]) -> Image.Image:
    """Convert an array of shape (h, w) or (h, w, 1 | 3 | 4) to an RGB image.

    Args:
        values: uint8, uint16 (divided by 257), or floats in [0, 1]. A fourth channel is alpha, laid over white.

    Raises:
        ImageError: another shape or dtype, no pixels, NaN, infinite or out-of-range values.
    """
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)):
        first = values.ndim == 3 and values.shape[0] in (1, 3, 4)
        raise ImageError(
            f"An image array must have the shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4). {received(values)} "
            + ("Move the channels last: array.transpose(1, 2, 0)." if first else "Pass one picture at a time.")
        )
    if values.size == 0:
        raise ImageError(f"An image array must hold at least one pixel. {received(values)} Check how it was cut.")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.dtype == np.uint8:
        return to_rgb(Image.fromarray(np.ascontiguousarray(values)))
    strips = _rows_of(values)
    if values.dtype == np.uint16:
        return array_to_rgb(_bytes_of_16_bit(values.shape, strips))
    if np.issubdtype(values.dtype, np.floating):
        return array_to_rgb(_bytes_of_units(values.shape, strips))
    raise ImageError(
        f"An image array must hold uint8, uint16, or floats in [0, 1]. {received(values)} "
        "For values in 0..255 use array.astype('uint8')."
    )


Strips = Callable[[], Iterator[tuple[slice, NDArray[Any]]]]
"""From nothing to which rows of a picture and their values, from the top down."""


def _slices(height: int, width: int) -> Iterator[slice]:
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _rows_of(values: NDArray[Any]) -> Strips:
    return lambda: ((rows, values[rows]) for rows in _slices(*values.shape[:2]))


def _cut(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Copies of a picture's strips. Not by ``crop``, which compares their size to a limit of the whole process."""
    for rows in _slices(picture.height, picture.width):
        strip = Image.new(picture.mode, (picture.width, rows.stop - rows.start))
        strip.paste(picture, (0, -rows.start))
        if "transparency" in picture.info:
            strip.info["transparency"] = picture.info["transparency"]
        yield rows, strip


def _strips_of(picture: Image.Image) -> Iterator[tuple[slice, NDArray[Any]]]:
    return ((rows, np.asarray(strip)) for rows, strip in _cut(picture))


def _grey(picture: Image.Image, values: NDArray[np.uint8]) -> Image.Image:
    picture.close()
    return Image.fromarray(values).convert("RGB")


def _bytes_of_16_bit(shape: tuple[int, ...], strips: Strips) -> NDArray[np.uint8]:
    """Values of 16 bits as bytes."""
    # Looked at whole before anything is made: a mode I picture may hold values that no picture has.
    low, high = 65535, 0
    for _, values in strips():
        low, high = min(low, int(values.min())), max(high, int(values.max()))
    if low < 0 or high > 65535:
        raise ImageError(
            f"Integer pixels must lie in 0..65535. Received: {low} to {high}. "
            "Scale them to [0, 1] yourself and pass the array."
        )
    made = np.empty(shape, np.uint8)
    for rows, values in strips():
        # (v + 128) // 257 is v / 257 rounded to the nearest, in integers.
        made[rows] = (values.astype(np.uint32) + 128) // 257
    return made


def _from_floats(picture: Image.Image) -> Image.Image:
    size = (picture.height, picture.width)
    highest = max(float(values.max()) for _, values in _strips_of(picture))  # NaN, of whatever strip, is told below

    def units() -> Iterator[tuple[slice, NDArray[Any]]]:
        for rows, values in _strips_of(picture):
            yield rows, values if highest <= 1 + _SLACK else values / np.float32(255)

    return _grey(picture, _bytes_of_units(size, units))


def _bytes_of_units(shape: tuple[int, ...], strips: Strips) -> NDArray[np.uint8]:
    """Floats in [0, 1] as bytes."""
    low, high, odd = math.inf, -math.inf, 0
    for _, values in strips():
        odd += int((~np.isfinite(values)).sum())
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if odd:
        raise ImageError(
            f"Float pixels must be finite. Received: {odd} NaN or infinite values. "
            "Replace them with numpy.nan_to_num(array)."
        )
    if low < -_SLACK or high > 1 + _SLACK:
        raise ImageError(
            f"Float pixels must lie in [0, 1]. Received: {low:.4g} to {high:.4g}. "
            "Divide 0..255 values by 255, and undo a model's normalisation."
        )
    made = np.empty(shape, np.uint8)
    for rows, values in strips():
        made[rows] = np.rint(np.clip(values, 0, 1) * np.float32(255))
    return made


def _over_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "P":
        return _palette_over_white(picture)
    if picture.mode in ("LA", "La"):
        grey = Image.new("L", picture.size)
        for rows, strip in _cut(picture):
            grey.paste(_blended(strip.convert("LA")).getchannel("R"), (0, rows.start))
        picture.close()
        return grey.convert("RGB")
    whole = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGBA")
    for rows, strip in _cut(whole):
        whole.paste(_blended(strip).convert(whole.mode), (0, rows.start))
    made = whole._new(whole.im) if whole.mode == "RGB" else whole.convert("RGB")
    made.info.pop("transparency", None)
    return made


def _blended(picture: Image.Image) -> Image.Image:
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)


def _palette_over_white(picture: Image.Image) -> Image.Image:
    """Lay the colours of the palette over white, in place of all pixels."""
    colours = picture.resize((256, 1), Image.Resampling.NEAREST)  # has its palette, and which of it is transparent
    colours.putdata(range(256))
    picture.putpalette(_blended(colours).convert("RGB").tobytes())
    picture.info.pop("transparency", None)
    return picture.convert("RGB")
