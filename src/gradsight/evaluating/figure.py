"""Draw a summary: a row for each method, a panel for each metric, a dot and its interval in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from gradsight.errors import InvalidArgument
from gradsight.evaluating.rows import JOINED
from gradsight.evaluating.summary import Summary, told
from gradsight.imaging import stacked
from gradsight.imaging.panel import INK, Font, shortened, wrapped
from gradsight.limits import PIXELS
from gradsight.metric_registry import as_metric

_TEXT, _ROW, _PANEL, _GAP, _ACROSS = 15, 22, 250, 28, 4
_LABELS = 330
_CONTROL, _METHOD, _GRID = (150, 150, 150), (38, 84, 155), (222, 222, 222)
_TICKS = 4
"""About so many numbers stand under a panel."""


@dataclass(frozen=True)
class _Scale:
    """From values to pixels across a panel."""

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        return _PANEL * (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]


def figure_of(summary: Sequence[Summary], about: Sequence[str]) -> Image.Image:
    """Dots and intervals.

    Args:
        summary: what is drawn. Methods are sorted by the mean of their ranks.
        about: lines above it.

    Raises:
        InvalidArgument: there is nothing to draw, or far too much.
    """
    if not summary:
        raise InvalidArgument("a figure needs a row at least. Received: none.")
    font = ImageFont.load_default(_TEXT)
    metrics = list(dict.fromkeys(one.metric for one in summary))
    order = order_of(summary)
    across = min(_ACROSS, len(metrics))
    parts = [metrics[i : i + across] for i in range(0, len(metrics), across)]
    names = names_of(order)
    labels = min(_LABELS, 3 * _TEXT + round(max(map(font.getlength, names))))
    width = labels + across * (_PANEL + _GAP) + _GAP
    PIXELS.check(width * _ROW * (len(order) + 5) * len(parts), f"the figure is too large: {len(order)} rows")
    known = {one.key: one for one in summary}
    drawn = [_band(part, order, known, (width, labels), font) for part in parts]
    return stacked([_heading(about, width, font), *drawn])


def order_of(summary: Sequence[Summary]) -> list[tuple[str, str]]:
    """(layer, method), the best first: by the mean of ranks, which has no unit."""
    ranks: dict[tuple[str, str], list[int]] = {}
    for one in summary:
        own = ranks.setdefault((one.layer, one.method), [])
        own += [] if one.rank is None else [one.rank]
    return sorted(ranks, key=lambda key: sum(ranks[key]) / len(ranks[key]) if ranks[key] else math.inf)


def layers_of(order: Sequence[tuple[str, str]]) -> list[str]:
    """The layers of methods that look at one each."""
    return sorted({layer for layer, _ in order if layer and JOINED not in layer})


def names_of(order: Sequence[tuple[str, str]]) -> list[str]:
    """What each row is called: of one layer the methods' names are enough."""
    several = len(layers_of(order)) > 1
    return [told(_layer_told(layer, several=several), method) for layer, method in order]


def _layer_told(layer: str, *, several: bool) -> str:
    # The names of all would be longer than a page is wide.
    if JOINED in layer:
        return f"{len(layer.split(JOINED))} layers"
    return layer if several else ""


def _heading(about: Sequence[str], width: int, font: Font) -> Image.Image:
    lines = [part for line in about for part in wrapped(line, font, width - _GAP)]
    canvas = Image.new("RGB", (width, round(_TEXT * (1.4 * len(lines) + 1))), "white")
    draw = ImageDraw.Draw(canvas)
    for i, line in enumerate(lines):
        draw.text((_TEXT, _TEXT * (0.8 + 1.4 * i)), line, fill=INK, font=font)
    return canvas


def _band(
    metrics: Sequence[str],
    order: Sequence[tuple[str, str]],
    known: dict[tuple[str, str, str], Summary],
    widths: tuple[int, int],
    font: Font,
) -> Image.Image:
    """Some of the panels side by side, with the methods' names before them."""
    width, labels = widths
    top = 3 * _ROW
    canvas = Image.new("RGB", (width, top + _ROW * (len(order) + 2)), "white")
    draw = ImageDraw.Draw(canvas)
    controls = {key[:2] for key, one in known.items() if one.control}
    for i, (key, name) in enumerate(zip(order, names_of(order), strict=True)):
        colour = _CONTROL if key in controls else INK
        draw.text((_TEXT, top + _ROW * i + 2), shortened(name, font, labels - 2 * _TEXT), fill=colour, font=font)
    for number, metric in enumerate(metrics):
        left = labels + number * (_PANEL + _GAP)
        own = [known.get((*key, metric)) for key in order]
        _panel(draw, metric, own, (left, top), font)
    return canvas


def _panel(
    draw: ImageDraw.ImageDraw, metric: str, rows: Sequence[Summary | None], corner: tuple[int, int], font: Font
) -> None:
    left, top = corner
    bottom = top + _ROW * len(rows)
    entry = as_metric(metric)
    draw.text((left, top - 2.5 * _ROW), shortened(_title(metric), font, _PANEL), fill=INK, font=font)
    draw.text((left, top - 1.5 * _ROW), f"{entry.better} is better", fill=_CONTROL, font=font)
    scale = _scale([value for row in rows if row for value in (row.mean, row.low, row.high)])
    for tick in scale.ticks:
        x = left + scale.at(tick)
        draw.line((x, top, x, bottom), fill=_GRID)
        draw.text((x, bottom + 3), f"{tick:.6g}", fill=INK, font=font, anchor="ma")
    for i, row in enumerate(rows):
        if row is not None:
            _dot(draw, row, scale, (left, top + _ROW * i + _ROW // 2))


def _title(metric: str) -> str:
    """What its paper calls it, with the options that are set."""
    name, bracket, options = metric.partition("(")
    return f"{as_metric(name).title}{' ' if bracket else ''}{bracket}{options}"


def _dot(draw: ImageDraw.ImageDraw, row: Summary, scale: _Scale, corner: tuple[int, int]) -> None:
    left, middle = corner
    colour = _CONTROL if row.control else _METHOD
    if math.isnan(row.mean):
        return
    # Of few photos there is no interval, and a dot alone says so.
    if not math.isnan(row.low):
        draw.line((left + scale.at(row.low), middle, left + scale.at(row.high), middle), fill=colour, width=2)
    x, radius = left + scale.at(row.mean), 4
    draw.ellipse((x - radius, middle - radius, x + radius, middle + radius), fill=colour)


def _scale(values: Sequence[float]) -> _Scale:
    """A scale that holds all values, with round numbers on it."""
    # Of controls too, so that what is no better than they are is seen to be.
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = (high - low) * 0.06 or max(abs(low) * 0.1, 0.1)
    low, high = low - room, high + room
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return _Scale(low, high, step)
