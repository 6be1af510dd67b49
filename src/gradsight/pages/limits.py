"""How much the page takes on from strangers."""

from __future__ import annotations

from dataclasses import dataclass

from gradsight.checks import taken
from gradsight.rules import Number, Whole


@dataclass(frozen=True)
class Limits:
    """The most of everything that a visitor can ask for.

    Attributes:
        upload: bytes of a photo's file.
        pixels: of a photo, as its header says before anything is decoded.
        seconds: that an answer may take; what is foreseen to take longer is refused.
        maps: of one answer: classes times methods times layers.
        side: pixels of the longer side of the copy of a photo that is kept to draw on.
        waiting: how many requests may wait; whoever comes then is told that it is full.
        visitors: of so many the last answers are kept.

    Raises:
        InvalidArgument: one is no positive number.
    """

    upload: int = 20_000_000
    pixels: int = 50_000_000
    seconds: float = 60.0
    maps: int = 24
    side: int = 1024
    waiting: int = 64
    visitors: int = 100

    def __post_init__(self) -> None:
        for name in ("upload", "pixels", "maps", "side", "waiting", "visitors"):
            taken(name, getattr(self, name), Whole(1))
        taken("seconds", self.seconds, Number(above=0))
