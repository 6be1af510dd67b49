"""Pictures side by side, each with a line of text or more."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from gradsight.checks import taken
from gradsight.errors import InvalidArgument
from gradsight.limits import PIXELS
from gradsight.rules import Whole

_ACROSS = 4
_WIDEST = 16
"""Of a picture, in heights that are asked for: a photo of 1 x 4000 pixels is drawn lower than that."""

HEIGHT = Whole(1, 1 << 20)
"""Of the pictures in a figure, in pixels."""

INK = (34, 34, 34)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Caption = str | Sequence[str]


def strip(
    panels: Sequence[tuple[Image.Image, Caption]],
    *,
    height: int = 320,
    wrap: int = 1,
    across: int = _ACROSS,
    text: int | None = None,
) -> Image.Image:
    """Set pictures side by side on white, four in a row at most if not said otherwise, a caption under each.

    Args:
        panels: pictures with their captions, a line or several; a line that is too wide ends in an ellipsis.
        height: of every picture, in pixels, unless one is very wide; widths follow from their aspects.
        wrap: on how many lines one that is too wide goes on before that.
        across: how many pictures a row has at most.
        text: the size of the letters; by default what goes with the height.

    Returns:
        An RGB image.

    Raises:
        InvalidArgument: there are no panels, or ``height`` is not positive.
    """
    height = taken("height", height, HEIGHT)
    if not panels:
        raise InvalidArgument("a figure needs a panel at least. Received: none.")
    # One very wide picture would make a figure that no screen shows and no memory holds.
    height = max(1, min(height, *(_WIDEST * height * picture.height // picture.width for picture, _ in panels)))
    widths = [picture.width * height // picture.height for picture, _ in panels]
    PIXELS.check(height * sum(widths), f"`height` is too large: pictures of {max(widths)} x {height} pixels")
    gap = max(4, height // 24)
    # Letters grow with the picture: a large figure is shown smaller on a screen or a page.
    text = text or max(10, height // 18)
    font = ImageFont.load_default(text)
    pictures = [_scaled(picture, height) for picture, _ in panels]
    given = [[caption] if isinstance(caption, str) else list(caption) for _, caption in panels]
    captions = [
        [part for line in lines for part in wrapped(line, font, picture.width, wrap) or [""]]
        for lines, picture in zip(given, pictures, strict=True)
    ]
    rows = [range(first, min(first + across, len(panels))) for first in range(0, len(panels), across)]
    heights = [
        height + gap // 2 + round(1.6 * text) + round(1.3 * text) * (max(len(captions[i]) for i in row) - 1) + gap
        for row in rows
    ]
    width = max(sum(pictures[i].width + gap for i in row) for row in rows) + gap
    canvas = Image.new("RGB", (width, gap + sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        left, top = gap, gap + sum(heights[:number])
        for i in row:
            canvas.paste(pictures[i], (left, top))
            for j, caption in enumerate(captions[i]):
                under = top + height + gap // 2 + round(1.3 * text) * j
                draw.text((left, under), caption, fill=INK, font=font)
            left += pictures[i].width + gap
    return canvas


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one under the other on white, at their left edges.

    Raises:
        InvalidArgument: there are none, or they are too large together.
    """
    if not pictures:
        raise InvalidArgument("a picture needs a part at least. Received: none.")
    width, height = max(picture.width for picture in pictures), sum(picture.height for picture in pictures)
    PIXELS.check(width * height, f"the pictures are too large together: {width} x {height} pixels")
    canvas, top = Image.new("RGB", (width, height), "white"), 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height
    return canvas


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _drawable(text: str) -> str:
    """A text on one line without accents: Pillow's font draws whatever is beyond ASCII as empty boxes."""
    # Pillow's own font is the only one that is there on every machine.
    letters = unicodedata.normalize("NFKD", text)
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())


def shortened(text: str, font: Font, width: int) -> str:
    """Cut a text at its end until it fits, on one line."""
    line = _drawable(text)
    if _fitting(line, font, width) == len(line):
        return line
    return line[: _fitting(line, font, width - font.getlength("…"))].rstrip() + "…"


def wrapped(text: str, font: Font, width: int, most: int = 99) -> list[str]:
    """Break a text into lines that fit, between words where it can be, ``most`` of them; the last may end in "…"."""
    rest, lines = _drawable(text), list[str]()
    while rest and len(lines) < most - 1 and (count := _fitting(rest, font, width)) < len(rest):
        count = max(1, count)
        space = rest.rfind(" ", 1, count + 1)
        count = space if space > 0 else count
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    return [*lines, shortened(rest, font, width)] if rest else lines


_FIRST = 32
"""Letters of a line that are measured first."""


def _fitting(line: str, font: Font, width: float) -> int:
    """How many letters of a line fit."""
    # By halves of twice what fits: to measure a text takes time, and a stranger's may have a million letters.
    low, high = 0, min(_FIRST, len(line))
    while high < len(line) and font.getlength(line[:high].rstrip()) <= width:
        low, high = high, min(2 * high, len(line))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(line[:middle].rstrip()) <= width else (low, middle - 1)
    return low
