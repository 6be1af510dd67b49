"""A frame of a video: as it was read, and explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from PIL import Image

from gradsight.checks import optional, taken
from gradsight.results.explanation import Explanation
from gradsight.results.pictures import Look
from gradsight.rules import Instance, Number, Whole


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame as it was read.

    Attributes:
        index: which frame, from 0; frames that could not be read count too.
        time: when it is shown, in seconds from the first frame; None where the source has no times.
        source: the picture, or the path or array that it is read from.
    """

    index: int
    time: float | None
    source: object

    def __str__(self) -> str:
        return f"frame {self.index}" if self.time is None else f"frame {self.index} at {self.time:.2f} s"


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, explained.

    Attributes:
        index: which frame, from 0; frames that failed count too.
        time: when it is shown, in seconds from the first frame; None where the source has no times.
        explanation: of this frame alone, with its picture.
        scale: the raw value from which on heat is drawn as hot as can be, in this frame; None where each frame is
            drawn by its own strength.

    >>> from gradsight.results.example import example
    >>> frame = Frame(0, 0.0, example(), scale=8.0)
    >>> frame.overlay().size, frame.strength
    ((60, 40), 0.5)
    """

    index: int
    time: float | None
    explanation: Explanation
    scale: float | None = None

    def __post_init__(self) -> None:
        taken("index", self.index, Whole(0))
        taken("explanation", self.explanation, Instance(Explanation, "a gs.Explanation"))
        optional("time", self.time, Number())
        optional("scale", self.scale, Number(above=0))

    @property
    def strength(self) -> float:
        """How strong its strongest map is beside `scale`: above 1 it is drawn as hot as at 1; 1 without a scale."""
        if self.scale is None:
            return 1.0
        return float(self.explanation.scale.max() / self.scale)

    def overlay(self, target: int = 0, *, max_side: int | None = None, **look: Unpack[Look]) -> Image.Image:
        """Draw the heat of one target on the frame, by the scale of the whole video.

        Args:
            target: which of its targets.
            max_side: the most pixels that the longer side has.
            **look: as in `Explanation.overlay`; another ``scale`` takes the place of the video's.

        Raises:
            InvalidArgument: as `Explanation.overlay`.
        """
        if self.scale is not None:
            look.setdefault("scale", self.scale)
        return self.explanation.overlay(0, target, max_side=max_side, **look)
