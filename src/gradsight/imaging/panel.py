"""Pictures side by side, each with a line of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from gradsight.errors import InvalidArgument, received

_ACROSS = 4
_INK = (34, 34, 34)


def strip(panels: Sequence[tuple[Image.Image, str]], *, height: int = 320) -> Image.Image:
    """Set pictures side by side on white, four in a row at most, a caption under each.

    Args:
        panels: pictures with their captions; a caption that is too wide ends in an ellipsis.
        height: of every picture, in pixels; widths follow from their aspects.

    Returns:
        An RGB image.

    Raises:
        InvalidArgument: there are no panels, or ``height`` is not positive.
    """
    if not panels or height < 1:
        raise InvalidArgument(f"strip needs a panel at least and a positive height. {received((len(panels), height))}")
    gap = max(4, height // 24)
    text = max(10, height // 18)
    font = ImageFont.load_default(text)
    pictures = [_scaled(picture, height) for picture, _ in panels]
    rows = [range(first, min(first + _ACROSS, len(panels))) for first in range(0, len(panels), _ACROSS)]
    line = height + gap // 2 + round(1.6 * text) + gap
    width = max(sum(pictures[i].width + gap for i in row) for row in rows) + gap
    canvas = Image.new("RGB", (width, gap + line * len(rows)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        left, top = gap, gap + number * line
        for i in row:
            canvas.paste(pictures[i], (left, top))
            caption = _shortened(panels[i][1], font, pictures[i].width)
            draw.text((left, top + height + gap // 2), caption, fill=_INK, font=font)
            left += pictures[i].width + gap
    return canvas


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text at its end until it fits, on one line.

    Accents are dropped, because Pillow's font draws letters that have them, like all beyond ASCII, as empty boxes.
    """
    letters = unicodedata.normalize("NFKD", text)
    line = " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())
    if font.getlength(line) <= width:
        return line
    fitting = [n for n in range(len(line)) if font.getlength(line[:n].rstrip() + "…") <= width]
    return line[: max(fitting, default=0)].rstrip() + "…"
