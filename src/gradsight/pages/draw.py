"""An answer drawn, from the maps that are kept: another colour or opacity takes no pass of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from PIL import Image

from gradsight import imaging
from gradsight.checks import optional, taken
from gradsight.pages.answer import Answer
from gradsight.results import wording
from gradsight.results.explanation import Explanation
from gradsight.results.wording import share
from gradsight.rules import Flag, Number

SIDE = 640
"""Of a drawn picture's longer side, in pixels."""

_DIVERGING = (imaging.DIVERGING, "vik", "balance")
"""Colour maps with two ends, which maps of two signs can be drawn in."""


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        colormap: a name; None for what is usual.
        opacity: in [0, 1]; None to follow the heat: the hotter, the less of the photo shows through.
        threshold: heat below this share of the map's maximum is left out; 0 leaves all, and so do maps of two signs.
        boxes: draw boxes around what is over the threshold, or over half where that is 0.

    Raises:
        InvalidArgument: a number outside of its range.
        UnknownName: there is no such colour map.
    """

    colormap: str | None = None
    opacity: float | None = None
    threshold: float = 0.0
    boxes: bool = False

    def __post_init__(self) -> None:
        if self.colormap is not None:
            imaging.colormap(self.colormap)
        object.__setattr__(self, "opacity", optional("opacity", self.opacity, Number(0, 1), "Pass 0.5."))
        object.__setattr__(self, "threshold", taken("threshold", self.threshold, Number(0, 1), "Pass 0.5."))
        taken("boxes", self.boxes, Flag())

    def colours(self, signed: bool) -> str:
        """The colour map of a map: one with two ends where both signs of it count."""
        if signed:
            return self.colormap if self.colormap in _DIVERGING else imaging.DIVERGING
        return self.colormap or imaging.DEFAULT

    @property
    def at(self) -> float:
        """The share of the maximum that boxes are drawn at."""
        return self.threshold or 0.5


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture with its words.

    Attributes:
        picture: RGB.
        title: the class that it is of.
        detail: by which model and method, at which layer.
        words: where it is hot; for who cannot see the picture, and for who can.
        notes: what the reader must know of this map.
    """

    picture: Image.Image
    title: str
    detail: str
    words: str
    notes: tuple[str, ...]


def panels(answer: Answer, look: Look, side: int = SIDE) -> tuple[Panel, ...]:
    """A picture of each map of an answer."""
    return tuple(panel for one in answer.explanations for panel in _panels(answer, one, look, side))


def _panels(answer: Answer, explanation: Explanation, look: Look, side: int) -> Iterator[Panel]:
    record = explanation.record().to_dict()
    shared, chances = answer.shared, {one.index: one.probability for one in answer.predictions}
    # What is true of all maps is told once, and not under each.
    notes = explanation.target_notes[0] if explanation.target_notes else ((),) * len(record["targets"])
    for j, target in enumerate(record["targets"]):
        chance = chances.get(target["index"]) if not target["signed"] else None
        told = f"{target['label']}, {share(chance)}" if chance is not None else str(target["label"])
        yield Panel(
            picture=drawn(explanation, j, look, side),
            title=told,
            detail=f"{record['title']} {wording.place(explanation.layers)}, {answer.served.name}",
            words=wording.where(target, record["size"]),
            notes=tuple(note.text for note in notes[j] if note.text not in shared),
        )


def drawn(explanation: Explanation, target: int, look: Look, side: int = SIDE) -> Image.Image:
    """One map on the copy of its photo."""
    signed = explanation.targets[0][target].signed
    opacity = "value" if look.opacity is None else look.opacity
    picture = explanation.overlay(
        0, target, max_side=side, colormap=look.colours(signed), opacity=opacity, signed=signed
    )
    if look.threshold and not signed:
        picture = _cut(explanation, target, picture, look.threshold)
    return _boxed(explanation, target, picture, look.at) if look.boxes else picture


def _cut(explanation: Explanation, target: int, picture: Image.Image, threshold: float) -> Image.Image:
    """The photo alone where the heat does not reach the threshold."""
    placed = explanation.placements[0].resized((picture.height, picture.width))
    # In the drawn picture's pixels: a mask of the photo itself may be a hundred times as large.
    mask = replace(explanation, placements=(placed,)).mask(0, target, threshold=threshold)
    # What the model did not see stays grey there too.
    plain = explanation.overlay(0, target, max_side=max(picture.size), opacity=0.0)
    return Image.composite(picture, plain, Image.fromarray(mask))


def _boxed(explanation: Explanation, target: int, picture: Image.Image, threshold: float) -> Image.Image:
    height, width = explanation.placements[0].image_size
    times = (picture.height / height, picture.width / width) * 2
    for box in explanation.boxes(0, target, threshold=threshold):
        picture = imaging.outlined(picture, [x * t for x, t in zip(box, times, strict=True)])
    return picture
