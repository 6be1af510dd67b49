"""A table of pictures: a row for each way of looking, a column for each thing looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from gradsight.checks import optional
from gradsight.errors import InvalidArgument, received
from gradsight.imaging.legend import Legend, draw_legend
from gradsight.imaging.panel import HEIGHT, INK, Font, shortened, wrapped
from gradsight.limits import PIXELS

_FAINT, _ALARM = (110, 110, 110), (150, 40, 30)
_LOWEST, _HIGHEST = 150, 240
_ALL_ROWS = 2200
"""Pixels that the rows share in height: few rows get large pictures, thirty small ones that still show an eye."""

_WIDEST = 1.6
"""Of a picture, as a multiple of the row's height."""

_UNFOLDED, _SHAPE = 1400, 1.3
"""Rows of more height than this together are folded into blocks, towards this width by height: that of a screen."""


@dataclass(frozen=True)
class Row:
    """One row: pictures with a line under each, or the reason why there are none.

    Attributes:
        heading: beside the row.
        remarks: under the heading, smaller.
        cells: a picture and a caption for each column.
        failure: said in place of the pictures.
    """

    heading: str
    remarks: Sequence[str] = ()
    cells: Sequence[tuple[Image.Image, str]] = ()
    failure: str = ""


@dataclass(frozen=True)
class _Sizes:
    """Lengths in pixels."""

    cell: tuple[int, int]
    columns: int
    gap: int
    font: Font
    small: Font
    text: int
    heading: int

    @property
    def line(self) -> int:
        return round(1.35 * self.text)

    @property
    def small_line(self) -> int:
        return round(1.15 * self.text)

    @property
    def cells(self) -> int:
        return self.columns * (self.cell[0] + self.gap) - self.gap

    @property
    def block(self) -> int:
        return self.heading + self.gap + self.cells


def grid(
    photo: Image.Image | None,
    about: Sequence[str],
    columns: Sequence[Sequence[str]],
    rows: Sequence[Row],
    *,
    legends: Sequence[Legend] = (),
    height: int | None = None,
) -> Image.Image:
    """Draw a table of pictures on white, under the photo that they are about.

    Many rows are folded into blocks side by side, each under the headings of the columns.

    Args:
        photo: drawn once, at the top left, in the shape of the cells; None to leave it out.
        about: lines beside it.
        columns: for each column the lines above it.
        rows: see `Row`; pictures of one shape.
        legends: what the colours mean, beside the photo.
        height: of every picture in pixels; by default 150 to 240, the fewer rows, the more.

    Returns:
        An RGB image.

    Raises:
        InvalidArgument: there are no columns or rows, ``height`` is not positive, or a row has other than one cell for
            each column.
    """
    shape = next((picture.size for row in rows for picture, _ in row.cells), (1, 1)) if photo is None else photo.size
    height = optional("height", height, HEIGHT)
    if not columns or not rows:
        raise InvalidArgument(f"a grid needs a column and a row. {received((len(columns), len(rows)))}")
    for row in rows:
        if not row.failure and len(row.cells) != len(columns):
            raise InvalidArgument(f"each row needs {len(columns)} cell(s), one a column. {received(len(row.cells))}")
    sizes = _sizes(shape, len(columns), height or min(_HIGHEST, max(_LOWEST, _ALL_ROWS // len(rows))))
    head = max(len(_wrapped(column, sizes)) for column in columns) * sizes.line + sizes.gap // 2
    heights = [_row_height(row, sizes) for row in rows]
    blocks = _folded(heights, head, sizes)
    tall = head + max(sum(heights[i] for i in block) for block in blocks)
    band = _band(
        photo, about, legends, sizes, max(len(blocks) * (sizes.block + 3 * sizes.gap), sizes.cell[0] + 30 * sizes.text)
    )
    PIXELS.check(band.width * (band.height + tall), f"`height` is too large: a grid of {band.width} x {tall} pixels")
    canvas = Image.new("RGB", (band.width + 2 * sizes.gap, band.height + tall + 2 * sizes.gap), "white")
    canvas.paste(band, (sizes.gap, sizes.gap))
    for number, block in enumerate(blocks):
        left, top = sizes.gap + number * (sizes.block + 3 * sizes.gap), sizes.gap + band.height
        _draw_head(canvas, columns, (left, top), sizes)
        top += head
        for i in block:
            _draw_row(canvas, rows[i], (left, top), sizes)
            top += heights[i]
    return canvas


def _sizes(shape: tuple[int, int], columns: int, height: int) -> _Sizes:
    scale = min(height / shape[1], _WIDEST * height / shape[0])
    cell = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    text = min(16, max(13, height // 14))
    font, small = ImageFont.load_default(text), ImageFont.load_default(round(0.86 * text))
    return _Sizes(cell, columns, max(6, height // 24), font, small, text, round(10.5 * text))


def _wrapped(lines: Sequence[str], sizes: _Sizes) -> list[str]:
    """A column's heading: its first line on two lines if need be, the others cut."""
    width = sizes.cell[0]
    return [*wrapped(lines[0], sizes.font, width, 2), *(shortened(line, sizes.small, width) for line in lines[1:])]


def _heading(row: Row, sizes: _Sizes) -> tuple[list[str], list[str]]:
    """A row's heading and remarks in lines; remarks may fill the height of a picture."""
    heading = wrapped(row.heading, sizes.font, sizes.heading, 3)
    room = max(2, (sizes.cell[1] - len(heading) * sizes.line) // sizes.small_line)
    remarks = [line for remark in row.remarks for line in wrapped(remark, sizes.small, sizes.heading, 4)]
    return heading, remarks[:room]


def _row_height(row: Row, sizes: _Sizes) -> int:
    heading, remarks = _heading(row, sizes)
    words = len(heading) * sizes.line + len(remarks) * sizes.small_line
    if row.failure:
        return max(words, len(_failure(row, sizes)) * sizes.small_line) + 2 * sizes.gap
    caption = sizes.small_line + sizes.gap // 2 if any(caption for _, caption in row.cells) else 0
    return max(words, sizes.cell[1] + caption) + sizes.gap


def _failure(row: Row, sizes: _Sizes) -> list[str]:
    return wrapped(row.failure, sizes.small, sizes.cells, 9)


def _folded(heights: Sequence[int], head: int, sizes: _Sizes) -> list[list[int]]:
    """The rows in blocks of about one height, as many as come nearest to the shape of a screen."""
    if sum(heights) <= _UNFOLDED:
        return [list(range(len(heights)))]

    def strangeness(blocks: list[list[int]]) -> float:
        tall = head + max(sum(heights[i] for i in block) for block in blocks) + sizes.cell[1]
        return abs(math.log(len(blocks) * sizes.block / tall / _SHAPE))

    return min((list(_divided(heights, count)) for count in range(1, len(heights) + 1)), key=strangeness)


def _divided(heights: Sequence[int], count: int) -> Iterator[list[int]]:
    """Rows in order, in ``count`` blocks at most."""
    limit, block, filled = sum(heights) / count, list[int](), 0.0
    for i, height in enumerate(heights):
        # By its middle: a row goes where more than half of it fits.
        if block and filled + height / 2 > limit:
            yield block
            block, filled = [], 0.0
        block.append(i)
        filled += height
    yield block


def _band(
    photo: Image.Image | None, about: Sequence[str], legends: Sequence[Legend], sizes: _Sizes, width: int
) -> Image.Image:
    """The photo with what is to be said about all of the grid beside it."""
    left = 0 if photo is None else sizes.cell[0] + 2 * sizes.gap
    first, *rest = about or [""]
    lines = [(line, sizes.font, INK) for line in wrapped(first, sizes.font, width - left, 2)]
    for text in rest:
        lines += [(line, sizes.small, _FAINT) for line in wrapped(text, sizes.small, width - left, 4)]
    legend = round(1.2 * sizes.line)
    tall = max(0 if photo is None else sizes.cell[1], len(lines) * sizes.line + len(legends) * legend) + 2 * sizes.gap
    band = Image.new("RGB", (width, tall), "white")
    if photo is not None:
        band.paste(_fitted(photo, sizes), (0, 0))
    draw, top = ImageDraw.Draw(band), 0
    for line, font, ink in lines:
        draw.text((left, top), line, fill=ink, font=font)
        top += sizes.line
    for chosen in legends:
        draw_legend(band, chosen, (left, top + sizes.gap // 2), sizes.small, sizes.text)
        top += legend
    return band


def _draw_head(canvas: Image.Image, columns: Sequence[Sequence[str]], at: tuple[int, int], sizes: _Sizes) -> None:
    draw = ImageDraw.Draw(canvas)
    for j, column in enumerate(columns):
        left, top = at[0] + sizes.heading + sizes.gap + j * (sizes.cell[0] + sizes.gap), at[1]
        # The first line may have become two, and both are in the larger letters.
        first = len(wrapped(column[0], sizes.font, sizes.cell[0], 2))
        for i, line in enumerate(_wrapped(column, sizes)):
            font, ink = (sizes.font, INK) if i < first else (sizes.small, _FAINT)
            draw.text((left, top + i * sizes.line), line, fill=ink, font=font)


def _draw_row(canvas: Image.Image, row: Row, at: tuple[int, int], sizes: _Sizes) -> None:
    draw, (left, top) = ImageDraw.Draw(canvas), at
    heading, remarks = _heading(row, sizes)
    for i, line in enumerate(heading):
        draw.text((left, top + i * sizes.line), line, fill=INK, font=sizes.font)
    for i, line in enumerate(remarks):
        under = top + len(heading) * sizes.line + i * sizes.small_line
        draw.text((left, under), line, fill=_FAINT, font=sizes.small)
    left += sizes.heading + sizes.gap
    if row.failure:
        for i, line in enumerate(_failure(row, sizes)):
            draw.text((left, top + i * sizes.small_line), line, fill=_ALARM, font=sizes.small)
        return
    for picture, caption in row.cells:
        canvas.paste(_fitted(picture, sizes), (left, top))
        under = top + sizes.cell[1] + sizes.gap // 4
        draw.text((left, under), shortened(caption, sizes.small, sizes.cell[0]), fill=_FAINT, font=sizes.small)
        left += sizes.cell[0] + sizes.gap


def _fitted(picture: Image.Image, sizes: _Sizes) -> Image.Image:
    return picture.convert("RGB").resize(sizes.cell, Image.Resampling.LANCZOS)
