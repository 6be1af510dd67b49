"""The ways of resizing and cutting that a function may have, read off what it makes of marked pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.imaging import Preprocess
from gradsight.models.following.pictures import SIDES, plain, ramp

Run = Callable[[Image.Image], NDArray[np.floating]]
"""From a picture to (height, width, channels)."""

_GREY = (0.299, 0.587, 0.114)  # how much of a grey is red, green and blue


@dataclass(frozen=True)
class Mixed:
    """What becomes of the colours, where it is no mean and std: ``Preprocess.function``.

    Attributes:
        shares: for each channel that is made, how much it takes of red, green and blue, which go to 255.
        black: the channels of black.
    """

    shares: tuple[tuple[float, ...], ...]
    black: tuple[float, ...]

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """The channels that are made of a picture, (height, width, 3) in 0..255."""
        made: NDArray[Any] = pixels @ np.asarray(self.shares).T + np.asarray(self.black)
        return made

    def unmixed(self, made: NDArray[np.float64]) -> NDArray[np.float64]:
        """The red, green and blue, in [0, 1], that such channels are made of."""
        colour: NDArray[np.float64] = np.linalg.pinv(np.asarray(self.shares)) @ (made - np.asarray(self.black)) / 255
        return colour


class Colours(NamedTuple):
    """What becomes of colours.

    Attributes:
        fields: those of `Preprocess` that do it.
        level: how much one grey level is, for each channel that is made.
        even: grey is halfway between black and white, as a mean and std leave it.
    """

    fields: dict[str, Any]
    level: NDArray[np.floating]
    even: bool = True


def colours_of(run: Run) -> Colours | None:
    """What becomes of pictures of one colour, in their middle; None where white and black become the same."""

    def middle(colour: str) -> NDArray[np.float64]:
        made = run(plain(colour))
        value: NDArray[np.float64] = made[made.shape[0] // 2, made.shape[1] // 2].astype(np.float64)
        return value

    black, white = middle("black"), middle("white")
    span = white - black
    if not np.abs(span).min() > 0:
        return None
    parts = np.stack([middle(colour) - black for colour in ("red", "lime", "blue")], axis=-1) / 255  # (channels, 3)
    shares = parts * 255 / span[:, None]
    usual = np.eye(3) if len(span) == 3 else np.array([_GREY])
    if (span > 0).all() and shares.shape == usual.shape and np.abs(shares - usual).max() < 0.02:
        fields: dict[str, Any] = {"mean": _numbers(-black / span), "std": _numbers(1 / span)}
    else:
        fields = {"function": Mixed(tuple(map(_numbers, parts)), _numbers(black))}
    off = np.abs(middle("#808080") - black - span * (128 / 255)).max()
    return Colours(fields, np.abs(span) / 255, bool(off < 2 * np.abs(span).max() / 255))


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    """As they were written, 0.485, where single precision has made 0.48500001 of it; the others as they are."""
    short = [float(f"{value:.5g}") + 0.0 for value in values]
    near = [abs(found - value) <= 3e-7 * abs(value) for found, value in zip(short, values, strict=True)]
    return tuple(found if same else float(value) for found, value, same in zip(short, values, near, strict=True))


class Seen(NamedTuple):
    """Where a function puts a picture.

    Attributes:
        sides: (height, width) of the picture.
        made: those of the result.
        filled: what is in the result where the picture is not, (channels,); None where it is everywhere.
        step: pixels of the picture for each of the result, down and across; negative where it is mirrored.
        bent: how much the result is turned or bent, in pixels of it.
    """

    sides: tuple[int, int]
    made: tuple[int, int]
    filled: NDArray[np.float64] | None
    step: tuple[float, float]
    bent: float


def seen_of(run: Run, sides: tuple[int, int]) -> Seen | None:
    """Where a function puts a picture of that size; None where nothing of it is left."""
    black, white = (run(plain(colour, sides)).astype(np.float64) for colour in ("black", "white"))
    span = (white - black).mean(axis=-1)
    there = np.abs(span) > 0.5 * np.abs(span).max()
    steps, bent = [], 0.0
    for axis in (0, 1):
        value = (run(ramp(sides, axis)).astype(np.float64) - black).mean(axis=-1)
        if value.shape != there.shape or not there.any():
            return None
        share = value / np.where(there, span, 1)
        # the ends of the picture are cut off: there a filter finds no more of it
        inside = there & (share > 0.03) & (share < 0.97)
        places = np.argwhere(inside).astype(np.float64)
        if len(places) < 9:
            return None
        terms = np.column_stack([places, np.ones(len(places))])
        found, *_ = np.linalg.lstsq(terms, share[inside] * (sides[axis] - 1), rcond=None)
        off = np.abs(terms @ found - share[inside] * (sides[axis] - 1)).mean()
        steps.append(float(found[axis]))
        bent = max(bent, abs(float(found[1 - axis])) * there.shape[1 - axis], float(off))
    filled = None if there.all() else black[~there].mean(axis=0)
    return Seen(sides, (there.shape[0], there.shape[1]), filled, (steps[0], steps[1]), bent)


def ways_of(run: Run, colours: Mapping[str, Any]) -> tuple[list[Seen], list[Preprocess]]:
    """What was seen of a function, and the ways of placing that may be its own, with any filter (bilinear here)."""
    seen = [found for sides in SIDES[:4] if (found := seen_of(run, sides)) is not None]
    base = replace(Preprocess(), **colours)
    ways = list(dict.fromkeys(_ways(seen, base))) if seen and all(min(map(abs, x.step)) > 1e-3 for x in seen) else []
    return seen, ways


def _ways(seen: Sequence[Seen], base: Preprocess) -> Iterator[Preprocess]:
    if all(x.made == x.sides for x in seen):
        yield replace(base, fit="none")
    elif len({x.made for x in seen}) > 1:
        yield from _kept(seen, base)
    else:
        yield from _of_one_size(seen, replace(base, size=seen[0].made))


def _of_one_size(seen: Sequence[Seen], base: Preprocess) -> Iterator[Preprocess]:
    """Of what was seen the size to which each picture was resized is known: its own by the step."""
    resized = [tuple(side / abs(step) for side, step in zip(x.sides, x.step, strict=True)) for x in seen]
    short = min(base.size)
    shorter = base.size.index(short)
    lengths = {
        "squash": [sides[shorter] for sides in resized],
        "crop": [min(sides) for sides in resized],
        "letterbox": [max(s / room for s, room in zip(sides, base.size, strict=True)) * short for sides in resized],
    }
    for fit, found in lengths.items():
        length = round(median(found))
        for rounding in ("nearest", "down", *(["even"] if fit == "letterbox" else [])):
            way = replace(base, fit=fit, rounding=rounding, **_fill(seen, base, fit))
            yield way
            if 1 <= length <= 100 * short:
                yield replace(way, resize=length)


def _fill(seen: Sequence[Seen], base: Preprocess, fit: str) -> dict[str, Any]:
    """The colour around a letterboxed picture."""
    made = next((x.filled for x in seen if x.filled is not None), None)
    if fit != "letterbox" or made is None:
        return {}
    if isinstance(base.function, Mixed):
        colour = base.function.unmixed(made)
    else:
        colour = made * np.asarray(base.std) + np.asarray(base.mean)
    return {"fill": _numbers(np.clip(colour, 0, 1))}


def _kept(seen: Sequence[Seen], base: Preprocess) -> Iterator[Preprocess]:
    """Of pictures in their own proportions: the shorter side, the most that the longer one has, what divides both."""
    short, most = max(min(x.made) for x in seen), max(max(x.made) for x in seen)
    divisor = math.gcd(*(side for x in seen for side in x.made))
    for multiple in sorted({1, divisor}):
        for rounding in ("nearest", "down"):
            for size in ((short, 100 * short), (short, most), (most, most)):
                yield replace(base, fit="keep", size=size, rounding=rounding, multiple=multiple)
