"""A frame as it is written: an overlay for each target side by side, with a line of text under each."""

from __future__ import annotations

from functools import lru_cache
from typing import TypedDict

from PIL import Image, ImageDraw, ImageFont

from gradsight.imaging.panel import INK, Font, shortened
from gradsight.results.wording import chances, share
from gradsight.watching.frame import Frame

_LETTERS = 26
"""A frame is so many times as high as its letters."""

_LEAST = 11
"""Pixels of letters that can be read."""


class Look(TypedDict):
    """Keyword arguments of `Frame.overlay`."""

    colormap: str | None
    opacity: str | float


def drawn(frame: Frame, look: Look, max_side: int | None) -> Image.Image:
    """The picture of a frame.

    Args:
        frame: which.
        look: how its heat is drawn.
        max_side: the most pixels that the longer side of one overlay has.
    """
    count = frame.explanation.maps.shape[1]
    overlays = [frame.overlay(j, max_side=max_side, **look) for j in range(count)]
    width, height = overlays[0].size
    text = max(_LEAST, height // _LETTERS)
    # Below the picture and not on it: words would hide what is hot.
    font, band = _font(text), round(1.8 * text)
    canvas = Image.new("RGB", (count * width, height + band), "white")
    draw = ImageDraw.Draw(canvas)
    for j, picture in enumerate(overlays):
        canvas.paste(picture, (j * width, 0))
        caption = shortened(_said(frame, j), font, width - text)
        draw.text((j * width + text // 2, height + text // 3), caption, fill=INK, font=font)
    return canvas


@lru_cache(4)
def _font(size: int) -> Font:
    # Made once: to read the letters takes longer than to draw a line of them.
    return ImageFont.load_default(size)


def _said(frame: Frame, j: int) -> str:
    """The target, and how sure the model is of it; or its score, where it has no probability."""
    explanation = frame.explanation
    target, score = explanation.targets[0][j], float(explanation.scores[0, j])
    shares = chances(explanation)
    return (
        f"{target.label} {share(shares[target.index])}"
        if target.index in shares
        else f"{target.label}, score {score:.2f}"
    )
