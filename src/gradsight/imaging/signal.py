"""A signal drawn as lines, with its heat behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gradsight.errors import InvalidArgument, received
from gradsight.imaging.overlay import Paint, draw
from gradsight.imaging.panel import INK
from gradsight.imaging.region import nan_to_zero
from gradsight.imaging.resample import Floats, stretched

PAPER = (40, 40, 46)
"""By looking: on white the colour maps' bright end, which is the hottest, is the one that is seen least."""

_LINE, _MARGIN = (235, 235, 235), (90, 90, 98)
_NARROWEST, _WIDEST = 800, 1600
"""Columns of the picture: a whole number of them for each sample, or the most there are."""

_HEIGHTS = {1: 160, 2: 120, 4: 90, 12: 60, 32: 36}
_LEAST_HEIGHT, _MOST_ROWS = 24, 256
_AXIS, _TEXT = 24, 12
_TICKS = 12
"""The most numbers along the axis."""


def signal(heat: Floats, values: NDArray[np.generic] | None = None, paint: Paint | None = None) -> Image.Image:
    """Draw the heat of a signal over its samples, an axis that counts them from 0, and the signal itself.

    The middle of sample i of t is at ``(i + 0.5) * width / t``; where a column of pixels holds several samples, it has
    the colour of the strongest.

    Args:
        heat: (t,) in [0, 1], or in [-1, 1] if ``paint`` is signed.
        values: (c, t), a row of the picture for each channel, the first at the top, each by its own range; what is not
            finite leaves a gap. None to draw the heat alone.
        paint: how heat becomes colours; by default as in `overlay`.

    Returns:
        An RGB image.

    Raises:
        InvalidArgument: more channels than can be drawn.
    """
    rows = 1 if values is None else len(values)
    if not 1 <= rows <= _MOST_ROWS:
        raise InvalidArgument(
            f"`photo` must have 1 to {_MOST_ROWS} channels to be drawn. {received(values)} Pass some: photo[:12]."
        )
    width = _width(len(heat))
    tall = next((height for most, height in _HEIGHTS.items() if rows <= most), _LEAST_HEIGHT)
    paper = Image.new("RGB", (width, rows * tall), PAPER)
    drawn = draw(paper, stretched(_columns(nan_to_zero(heat), width)[None], paper.size[::-1]), paint or Paint())
    if values is not None:
        _draw_lines(drawn, values, tall)
    return _with_axis(drawn, len(heat))


def _width(samples: int) -> int:
    return samples * max(1, -(-_NARROWEST // samples)) if samples <= _WIDEST else _WIDEST


def _columns(heat: Floats, width: int) -> Floats:
    """The heat with a value for each column at most: of several samples the strongest, so that none gets lost."""
    if len(heat) <= width:
        return heat
    starts = -((width - 2 * len(heat) * np.arange(width)) // (2 * width))  # the first sample whose middle lies there
    high, low = np.maximum.reduceat(heat, starts), np.minimum.reduceat(heat, starts)
    return np.where(-low > high, low, high)


def _draw_lines(picture: Image.Image, values: NDArray[np.generic], tall: int) -> None:
    """Draw each channel in its row, twice as large and then shrunk, which smooths its edges."""
    inked = Image.new("L", (2 * picture.width, 2 * picture.height), 0)
    draw, frame = ImageDraw.Draw(inked), ImageDraw.Draw(picture)
    font = ImageFont.load_default(_TEXT)
    for row, channel in enumerate(values):
        for part in _points(channel, inked.width, 2 * tall * row, 2 * tall):
            draw.line(part, fill=255, width=3)
            draw.point(part, fill=255)  # a sample between two gaps is no line
        if row:
            frame.line((0, tall * row, picture.width, tall * row), fill=_MARGIN)
    picture.paste(_LINE, mask=inked.resize(picture.size, Image.Resampling.BOX))
    if len(values) > 1:
        for row in range(len(values)):
            frame.text((3, tall * row + 1), str(row), fill=_LINE, font=font)


def _points(channel: NDArray[np.generic], width: int, top: int, tall: int) -> list[list[tuple[float, float]]]:
    """The points of one channel's line; several lines where there are gaps."""
    known = np.isfinite(channel)
    # In float64: the range of a signal around a large offset is lost in float32.
    finite = channel[known].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    share = np.full(len(channel), 0.5)
    if high > low:
        share[known] = (high - finite) / (high - low)
    across = (np.arange(len(channel)) + 0.5) * (width / len(channel))
    down = top + tall * (0.1 + 0.8 * share)
    # A line over a gap would show samples that were never measured.
    runs = np.split(np.arange(len(channel)), np.flatnonzero(np.diff(known)) + 1)
    return [list(zip(across[run].tolist(), down[run].tolist(), strict=True)) for run in runs if known[run[0]]]


def _with_axis(picture: Image.Image, samples: int) -> Image.Image:
    """The picture above an axis of samples."""
    canvas = Image.new("RGB", (picture.width, picture.height + _AXIS), "white")
    canvas.paste(picture, (0, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT)
    unit = "samples"
    room = canvas.width - font.getlength(unit) - _TEXT
    draw.text((canvas.width - font.getlength(unit) - 2, picture.height + 7), unit, fill=INK, font=font)
    for sample in range(0, samples, _step(samples)):
        across = (sample + 0.5) * canvas.width / samples
        length = font.getlength(str(sample))
        draw.line((across, picture.height, across, picture.height + 5), fill=INK)
        if across + length / 2 < room:
            draw.text((max(0.0, across - length / 2), picture.height + 7), str(sample), fill=INK, font=font)
    return canvas


def _step(samples: int) -> int:
    """Between numbers of the axis: 1, 2 or 5 times a power of ten."""
    power = 1
    while samples > 10 * power * _TICKS:
        power *= 10
    return next(power * first for first in (1, 2, 5, 10) if samples <= power * first * _TICKS)
