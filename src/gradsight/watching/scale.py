"""One scale over all frames: what is hot in one frame is as strong as what is as hot in another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias

from gradsight.photos import Explained, Failed
from gradsight.results.explanation import Explanation
from gradsight.rules import Choice, Either, Number, Rule
from gradsight.watching.frame import Shot
from gradsight.watching.source import Source

WORDS = ("video", "running", "own")
"""What scales there are: that of the strongest of some frames, of all up to now, and of each frame alone."""

SCALE: Rule[str | float] = Either[str | float]((Choice(WORDS, "scale", "Or pass a number."), Number(above=0)))

SAMPLES = 16
"""Frames that the scale of a video is found from, evenly over all of it: a twentieth of ten seconds."""

Explaining: TypeAlias = "Callable[[Iterable[Shot]], Generator[Explained[Shot] | Failed[Shot], None, None]]"


class Scale:
    """By what each frame is drawn, asked in the order of frames.

    Attributes:
        value: the raw value that is drawn as hot as can be; 0 while nothing is known.
        kind: ``"own"``, ``"running"`` (it grows where a frame is stronger, and never falls), or ``"fixed"``.
    """

    def __init__(self, value: float, kind: str) -> None:
        self.value, self.kind = value, kind

    def of(self, explanation: Explanation) -> float | None:
        """That of the next frame; None where it is drawn by its own strength."""
        if self.kind == "own":
            return None
        # Before anything was hot there is nothing to divide by.
        if self.kind == "running" or not self.value:
            self.value = max(self.value, strongest(explanation))
        return self.value or None


def scale_of(asked: str | float, source: Source, explain: Explaining) -> Scale:
    """The scale that is meant; that of a video is found from some of its frames.

    Args:
        asked: one of `WORDS`, or the raw value itself.
        source: what is watched.
        explain: explains frames.
    """
    if not isinstance(asked, str):
        return Scale(asked, "fixed")
    # Both need no look ahead.
    if asked != "video":
        return Scale(0.0, asked)
    samples = source.samples(SAMPLES)
    if samples is None:  # there is no second look at it
        return Scale(0.0, "running")
    # Frames that fail are told where they come; here they are no samples.
    found = [strongest(done.explanation) for done in explain(samples) if isinstance(done, Explained)]
    value = max(found, default=0.0)
    return Scale(value, "fixed" if value else "running")


def strongest(explanation: Explanation) -> float:
    """The raw value from which on the strongest map of an explanation is drawn as hot as can be."""
    return float(explanation.scale.max())
