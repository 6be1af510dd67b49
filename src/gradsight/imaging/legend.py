"""What the colours of a map mean, as a line under a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from gradsight.imaging.colour import colorize
from gradsight.imaging.panel import INK, Font


@dataclass(frozen=True)
class Legend:
    """What the colours mean.

    Attributes:
        colormap: their name.
        low: what the first of them stands for.
        high: what the last of them stands for.
    """

    colormap: str
    low: str
    high: str


def draw_legend(canvas: Image.Image, legend: Legend, at: tuple[int, int], font: Font, text: int) -> None:
    """Draw a ramp of the colours with words on both sides.

    Args:
        canvas: is drawn on.
        legend: what is said.
        at: (left, top) of it, in pixels.
        font: of the words.
        text: the size of its letters; the ramp is seven times as wide.
    """
    draw, (left, top) = ImageDraw.Draw(canvas), at
    gap = max(6, text // 2)
    draw.text(at, legend.low, fill=INK, font=font)
    left += round(font.getlength(legend.low)) + gap
    ramp = np.tile(np.linspace(0, 1, 7 * text), (text - 2, 1))
    bar = Image.fromarray((colorize(ramp, legend.colormap) * 255).astype(np.uint8))
    canvas.paste(bar, (left, top + 1))
    draw.text((left + bar.width + gap, top), legend.high, fill=INK, font=font)


def with_legends(picture: Image.Image, legends: Sequence[Legend], font: Font, text: int) -> Image.Image:
    """A picture, and under it on white a line for each legend."""
    gap, line = max(6, round(0.75 * text)), round(1.6 * text)
    canvas = Image.new("RGB", (picture.width, picture.height + line * len(legends) + gap), "white")
    canvas.paste(picture)
    top = picture.height
    for legend in legends:
        draw_legend(canvas, legend, (gap, top), font, text)
        top += line
    return canvas
