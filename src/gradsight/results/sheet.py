"""One photo with all that was explained of it: a row for each method and layer, and what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from gradsight import imaging
from gradsight.imaging.panel import INK, Font, shortened
from gradsight.results import wording

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

_TEXT = 17
"""Size of the letters, which goes with pictures of 320 pixels as `Explanation.figure` draws them."""


_HEIGHT = 320
"""Of the pictures in a sheet, in pixels."""

_LEAST_HEIGHT = 48
"""Lower pictures show nothing."""


def sheet(
    explanations: Sequence[Explanation],
    *,
    colormap: str | None = None,
    opacity: str | float = "value",
    max_side: int | None = None,
) -> Image.Image:
    """The photo and its overlays side by side, a row for each explanation, and under them a legend.

    Args:
        explanations: of one photo.
        colormap: as in `imaging.overlay`.
        opacity: as in `imaging.overlay`.
        max_side: about the most pixels of the longer side: the pictures are drawn smaller, and the words stay readable,
            so that a sheet of many is larger than that.
    """
    made = _sheet(explanations, colormap, opacity, None)
    if max_side is None or max(made.size) <= max_side:
        return made
    return _sheet(explanations, colormap, opacity, max(_LEAST_HEIGHT, _HEIGHT * max_side // max(made.size)))


def _sheet(
    explanations: Sequence[Explanation], colormap: str | None, opacity: str | float, height: int | None
) -> Image.Image:
    font = ImageFont.load_default(_TEXT)
    rows = []
    for explanation in explanations:
        drawn = explanation.figure(0, height=height, colormap=colormap, opacity=opacity)
        title = f"{explanation.title or explanation.method}, {wording.place(explanation.layers)}"
        rows.append(_headed(drawn, shortened(title, font, drawn.width - _TEXT), font))
    signed = [target.signed for explanation in explanations for target in explanation.targets[0]]
    return imaging.with_legends(imaging.stacked(rows), legends(signed, colormap), font, _TEXT)


def legends(signed: Sequence[bool], colormap: str | None) -> list[imaging.Legend]:
    """What the colours of maps mean, of which some or all may have two signs."""
    found = []
    # Both legends where some maps have two signs and some have one: their colours differ.
    if not all(signed):
        found.append(imaging.Legend(colormap or imaging.DEFAULT, "nothing", "speaks most for the class"))
    if any(signed):
        found.append(imaging.Legend(colormap or imaging.DIVERGING, "for the second class", "for the first"))
    return found


def _headed(picture: Image.Image, title: str, font: Font) -> Image.Image:
    band = round(1.8 * _TEXT)
    canvas = Image.new("RGB", (picture.width, picture.height + band), "white")
    ImageDraw.Draw(canvas).text((_TEXT, _TEXT // 2), title, fill=INK, font=font)
    canvas.paste(picture, (0, band))
    return canvas
