"""What an audit found, with the pictures that show it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradsight.auditing.finding import Finding
from gradsight.reporting.choosing import EXAMPLES
from gradsight.reporting.pictures import Rect
from gradsight.reporting.views import Photo
from gradsight.significance import Interval

TOLD = 60
"""So many findings of a kind are told."""


@dataclass(frozen=True)
class Bar:
    """A figure with its interval, to be drawn on a scale that all bars of a list share.

    Attributes:
        name: what it is.
        told: it in words.
        ends: (low, mean, high) in per cent of the scale; low and high are the mean where there is no interval.
        zero: 0 in per cent of the scale; None where it is not on it.
    """

    name: str
    told: str
    ends: tuple[float, float, float]
    zero: float | None


@dataclass(frozen=True)
class Example:
    """A photo beside a finding, with the place that the finding is about."""

    photo: Photo
    box: Rect | None


@dataclass(frozen=True)
class Card:
    """A finding as it is shown.

    Attributes:
        finding: in words and figures.
        examples: photos of it that are on the page.
        bars: its figures with intervals.
    """

    finding: Finding
    examples: tuple[Example, ...]
    bars: tuple[Bar, ...]


def cards_of(findings: Sequence[Finding], shown: Mapping[str, Photo]) -> tuple[Card, ...]:
    """Findings of a kind as cards; their bars share a scale.

    Args:
        findings: the strongest first.
        shown: the photos on the page, by their keys.
    """
    told = findings[:TOLD]
    scale = _scale([end for one in told for each in (one.removal, one.transplant) if each for end in _ends(each)])
    return tuple(Card(one, _examples(one, shown), _bars(one, scale)) for one in told)


def _examples(one: Finding, shown: Mapping[str, Photo]) -> tuple[Example, ...]:
    photos = [shown[key] for key in one.photos if key in shown][:EXAMPLES]
    # The box of a class's objects is not one: only suspects and errors have a place.
    return tuple(Example(photo, _on(one.box, photo)) for photo in photos)


def _on(box: tuple[float, float, float, float] | None, photo: Photo) -> Rect | None:
    if box is None:
        return None
    (width, height), (top, left, bottom, right) = photo.size, box
    return (
        round(left * width, 2),
        round(top * height, 2),
        round((right - left) * width, 2),
        round((bottom - top) * height, 2),
    )


def _bars(one: Finding, scale: tuple[float, float]) -> tuple[Bar, ...]:
    if one.kind == "background":
        return _told((("without the object the probability falls by", one.removal),), scale)
    return _told(
        (
            ("without the region the probability falls by", one.removal),
            ("put into photos of other classes it rises, beyond what other photos' region does, by", one.transplant),
        ),
        scale,
    )


def _told(named: Sequence[tuple[str, Interval | None]], scale: tuple[float, float]) -> tuple[Bar, ...]:
    return tuple(bar_of(name, figure, scale) for name, figure in named if figure and not math.isnan(figure.mean))


def bar_of(name: str, figure: Interval, scale: tuple[float, float]) -> Bar:
    """A figure on a scale (lowest, highest)."""

    def at(value: float) -> float:
        return round(100 * (value - scale[0]) / (scale[1] - scale[0]), 2)

    mean, low, high = _ends(figure)
    return Bar(name, told(figure), (at(low), at(mean), at(high)), at(0) if scale[0] <= 0 <= scale[1] else None)


def told(figure: Interval) -> str:
    """A figure with its interval, in words."""
    if math.isnan(figure.low):
        return f"{figure.mean:.3g} ({figure.n} photos: too few for an interval)"
    return f"{figure.mean:.3g}, 95% interval {figure.low:.3g} to {figure.high:.3g} ({figure.n} photos)"


def _ends(figure: Interval) -> tuple[float, float, float]:
    """The mean and the ends; the mean again where there is no interval."""
    if math.isnan(figure.low):
        return (figure.mean,) * 3
    return figure.mean, figure.low, figure.high


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """From a little below the least to a little above the most; 0 is on it."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.1, *finite])
    room = 0.05 * (high - low)
    return low - room, high + room
