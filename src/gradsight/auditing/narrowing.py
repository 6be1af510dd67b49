"""The smallest box that still does it: a region is halved while most of its effect stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gradsight.auditing.interventions import Figures, Shown
from gradsight.auditing.places import Box, area, halves, trims

_KEPT = 0.7
"""A half is taken where it keeps this share of the effect, about the root of a half: what is spread evenly over a
region loses half of it, and what is in one place nothing."""

_TRIMMED = 0.87
"""The same for three quarters."""

_OF_START = 0.6
"""And this share of the effect that it began with: a slice of a mark is no better an answer than the mark."""

_SMALLEST = 1 / 400
"""No box gets smaller: 12 x 12 pixels of 240."""

_ROUNDS = 8


def narrowed(shown: Shown, starts: Sequence[Box]) -> Box | None:
    """The smallest box within one of several; of these the one with the largest effect for its size.

    Args:
        shown: photos to try it on; not those that the box is proven on afterwards.
        starts: boxes to begin with.

    Returns:
        None where no box has an effect.
    """
    effects = [effect(shown, box) for box in starts]
    order = sorted(range(len(starts)), key=lambda i: -for_size(effects[i], starts[i]))
    if not order or effects[order[0]] <= 0:
        return None
    box, whole = starts[order[0]], effects[order[0]]
    least = _OF_START * whole
    # In large steps first: most of a region is beside the mark.
    for cuts, kept in ((halves, _KEPT), (trims, _TRIMMED)):
        box, whole = _cut(shown, (box, whole), least, cuts, kept)
    return box


def for_size(found: float, box: Box) -> float:
    """An effect beside the size of its box."""
    # By the root of the area, between the effect itself, for which the largest wins, and the effect for its area.
    return float(found / area(box) ** 0.5)


def _cut(
    shown: Shown, start: tuple[Box, float], least: float, cuts: Callable[[Box], Iterable[Box]], kept: float
) -> tuple[Box, float]:
    box, whole = start
    for _ in range(_ROUNDS):
        # Smaller boxes than a few pixels of a network's input show nothing.
        smaller = [part for part in cuts(box) if area(part) >= _SMALLEST]
        if not smaller:
            break
        found = [effect(shown, part) for part in smaller]
        best = int(np.argmax(found))
        if found[best] < max(kept * whole, least):
            break
        box, whole = smaller[best], found[best]
    return box, whole


def effect(shown: Shown, box: Box) -> float:
    """How much more the class's log-odds rise by its own patches than by those of others, on average."""
    return float(gains(shown.with_patches([box] * len(shown.own))).mean())


def gains(patched: Figures) -> Figures:
    """(n,): how much more the log-odds rise by the class's patches than by others; see `Shown.with_patches`."""
    found = log_odds(patched)
    return np.asarray(found[0] - found[1])


def log_odds(probabilities: Figures) -> Figures:
    """The logarithm of p / (1 - p): a patch adds to it about the same, whatever else a photo shows."""
    # A softmax in float32 gives 0 and 1, whose log-odds are infinite.
    kept = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept) - np.log1p(-kept))
