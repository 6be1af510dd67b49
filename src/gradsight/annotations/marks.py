"""What is known of where things are on photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Box, Sides, Text

Corners = tuple[float, float, float, float]
"""(top, left, bottom, right)."""

_BEYOND = 1.0
"""Pixels that a box may lie beyond its photo: some tools count from 1, some to the last pixel."""


@dataclass(frozen=True)
class LabelledBox:
    """One thing on a photo.

    Attributes:
        label: what it is, as the file says.
        box: (top, left, bottom, right) in pixels of the photo as it is looked at, upright by EXIF, measured from its
            upper left corner, so that pixel 0 spans 0 to 1.
        relative: the box is in shares of the photo's height and width instead, as YOLO writes them.

    Raises:
        InvalidArgument: the box has no area.
        InvalidType: the label is no text.

    >>> LabelledBox("cat", (0.25, 0.5, 0.75, 1), relative=True).on((40, 60))
    (10.0, 30.0, 30.0, 60.0)
    """

    label: str
    box: Corners
    relative: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", taken("label", self.label, Text()))
        object.__setattr__(self, "box", taken("box", self.box, Box()))

    def on(self, size: tuple[int, int]) -> Corners:
        """The box in pixels of a photo of (height, width), cut where it reaches beyond it.

        Raises:
            InvalidArgument: it lies beside the photo, or reaches so far beyond that it is of another one.
        """
        height, width = taken("size", size, Sides())
        times = (height, width, height, width) if self.relative else (1, 1, 1, 1)
        top, left, bottom, right = (corner * factor for corner, factor in zip(self.box, times, strict=True))
        if min(top, left) < -_BEYOND or bottom > height + _BEYOND or right > width + _BEYOND:
            raise InvalidArgument(
                f"the box of {self.label!r} must lie on the photo, of {width} x {height} pixels. {received(self.box)} "
                "Look whether it is of another photo, or of another size of this one."
            )
        inside = max(top, 0.0), max(left, 0.0), min(bottom, float(height)), min(right, float(width))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise InvalidArgument(
                f"the box of {self.label!r} must lie on the photo. {received(self.box)} Leave it out."
            )
        return inside


@dataclass(frozen=True)
class Marks:
    """What is known of the things on one photo.

    Attributes:
        boxes: the things, in the order of the file.
        size: (height, width) of the photo, as the file says; None where it does not say.
        mask: a picture of the photo's size that is not black where the thing is; None where there is none.
    """

    boxes: tuple[LabelledBox, ...] = ()
    size: tuple[int, int] | None = None
    mask: Path | None = None

    def check(self, size: tuple[int, int]) -> None:
        """Check that the photo has the size that the file says: boxes of another one would lie elsewhere on it.

        Raises:
            InvalidArgument: it has another.
        """
        if self.size is None or self.size == size:
            return
        turned = " They are as the photo lies before it is turned upright." if self.size == size[::-1] else ""
        raise InvalidArgument(
            f"its boxes must be of a photo of {size[1]} x {size[0]} pixels. Received: boxes of one of {self.size[1]} x "
            f"{self.size[0]}.{turned} Draw them on this photo, or give the one that they were drawn on."
        )


@dataclass(frozen=True)
class Annotations:
    """What a file or a folder says of photos.

    Attributes:
        of: for each photo, by its path in the file, or by its path without the ending, what is known of it.
        problems: what could not be read, in words, one sentence for each.
    """

    of: Mapping[str, Marks] = field(hash=False)
    problems: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted({box.label for marks in self.of.values() for box in marks.boxes}))
