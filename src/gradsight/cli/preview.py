"""A picture drawn in the terminal: by the terminal itself where it can, else in half blocks."""

from __future__ import annotations

import os
from typing import TextIO

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from gradsight.cli import graphics
from gradsight.cli.streams import stdout

_UPPER = "▀"
"""The upper half of a cell has its colour, the lower half that behind it: two pixels in each cell."""

_LINES_LEFT = 2
"""Of a terminal: what stands below a picture must not push its top away."""


def draw(picture: Image.Image) -> str | None:
    """Draw a picture, no wider and no higher than the terminal.

    Returns:
        None, or why it cannot be drawn, in words.
    """
    stream = stdout()
    console = Console(file=stream)
    why = unfit(console)
    if why is not None:
        return why
    way = graphics.way(stream)
    columns, rows = cells(picture, console)
    if way == "kitty":
        _write(stream, graphics.kitty(picture, columns))
    elif way == "sixel":
        width, height = graphics.cell(stream)
        _write(stream, graphics.sixel(picture.resize((columns * width, rows * height), Image.Resampling.LANCZOS)))
    else:
        console.print(blocks(picture, columns, rows), end="")
    return None


def blocks(picture: Image.Image, columns: int, rows: int) -> Segments:
    """A picture in half blocks, ``columns`` cells wide and ``rows`` cells high."""
    small = picture.convert("RGB").resize((columns, 2 * rows), Image.Resampling.LANCZOS)
    pixels = small.tobytes()

    def colour(x: int, y: int) -> Color:
        at = 3 * (y * columns + x)
        return Color.from_rgb(*pixels[at : at + 3])

    # Segments and not a text of markup: thousands of cells are styled in a few milliseconds.
    segments: list[Segment] = []
    for row in range(rows):
        for x in range(columns):
            segments.append(Segment(_UPPER, Style(color=colour(x, 2 * row), bgcolor=colour(x, 2 * row + 1))))
        segments.append(Segment.line())
    return Segments(segments)


def cells(picture: Image.Image, console: Console) -> tuple[int, int]:
    """How many cells a picture is wide and high, each twice as high as wide."""
    most = max(1, console.height - _LINES_LEFT)
    columns = console.width
    if picture.height * columns > 2 * most * picture.width:
        columns = max(1, 2 * most * picture.width // picture.height)
    return columns, max(1, min(most, round(picture.height * columns / picture.width / 2)))


def unfit(console: Console) -> str | None:
    """Why nothing can be drawn; None where it can."""
    if not console.is_terminal:
        return "--preview draws in a terminal, and stdout is none."
    if os.environ.get("NO_COLOR"):
        return "--preview needs colours, and NO_COLOR asks for none."
    if console.color_system is None or console.is_dumb_terminal:
        return f"--preview needs colours, and this terminal has none (TERM={os.environ.get('TERM', '')!r})."
    return None


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
