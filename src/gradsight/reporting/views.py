"""A photo with its maps, as a report shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from PIL import Image

from gradsight import imaging
from gradsight.auditing.places import named
from gradsight.errors import GradsightError
from gradsight.reporting import pictures
from gradsight.reporting.listing import Entry
from gradsight.reporting.pictures import Rect
from gradsight.results.explanation import Explanation
from gradsight.results.html import address

VIEWS = 12
"""So many maps of a photo are shown."""

_WORDS = 2200
"""Bytes that a photo takes beside its pictures: its words, in several places of the page."""

_BEST = 3
"""So many of the model's classes are told."""


@dataclass(frozen=True)
class View:
    """A map of a photo.

    Attributes:
        kind: which method, layer and target it is of, in words that are the same for all photos.
        target: the name of what it explains.
        score: of the target, in words.
        signed: what speaks against it is drawn too.
        heat: the transparent picture; empty where there is nothing to lay on a photo.
        at: where it lies.
        place: the box that the target is about; None where it is about none.
        where: where it is hottest, in words.
        notes: what its reader must know.
    """

    kind: str
    target: str
    score: str
    signed: bool
    heat: str
    at: Rect
    place: Rect | None
    where: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Photo:
    """A photo with its maps.

    Attributes:
        number: from 0, in the order of the page.
        key: what it is called.
        entry: what is known of it.
        size: (width, height) in pixels, of the photo or of what the model got.
        picture: the photo; empty where it cannot be drawn on.
        why: why not, in words.
        views: its maps.
        main: which of them is of what the model took it for.
        top: the model's best classes, in words.
    """

    number: int
    key: str
    entry: Entry
    size: tuple[int, int]
    picture: str
    why: str
    views: tuple[View, ...]
    main: int
    top: str

    @property
    def bytes(self) -> int:
        """About how much of the page it takes."""
        # A name is in the page several times, and a letter of it takes up to six bytes where it is escaped.
        words = 40 * len(self.key) + 6 * sum(len(note) for view in self.views for note in view.notes)
        return len(self.picture) + sum(len(view.heat) for view in self.views) + words + _WORDS

    @property
    def words(self) -> str:
        """What is in the picture, for who cannot see it."""
        return self.words_of(self.main)

    def words_of(self, number: int) -> str:
        """The same with another of its maps."""
        said = f"{self.key}: taken for {self.entry.guess}" if self.entry.guess else self.key
        view = self.views[number] if number < len(self.views) else None
        if view is None or not view.where:
            return f"{said}."
        return f"{said}. The heat for {view.target} is strongest at {view.where}."


def photo_of(explained: Sequence[Explanation], key: str, entry: Entry, size: tuple[int, int]) -> Photo:
    """A photo as large as it is shown, with its maps.

    Args:
        explained: by each method and layer.
        key: what it is called.
        entry: what is known of it.
        size: the longer side at most, in pixels, and the quality.
    """
    first = explained[0]
    picture, why, extent = _picture(first, size)
    # With several methods or layers each map says which one it is of.
    several = len(explained) > 1
    views = [view for one in explained for view in _views(one, extent, size[0], several=several)]
    best = first.predictions[0][:_BEST] if first.predictions else ()
    return Photo(
        number=0,
        key=key,
        entry=entry,
        size=extent,
        picture=picture,
        why=why,
        views=tuple(views[:VIEWS]),
        main=min(_main(first), VIEWS - 1),
        top=", ".join(f"{one.label} {one.probability:.2f}" for one in best),
    )


def _picture(explanation: Explanation, size: tuple[int, int]) -> tuple[str, str, tuple[int, int]]:
    """The photo, why there is none, and its size in pixels."""
    if not _is_picture(explanation):
        drawn = _drawn(explanation, 0, size[0])
        return "", "the model's input is no picture", (800, 160) if drawn is None else drawn.size
    if not explanation.placements:
        height, width = explanation.input_size
        return "", "it was given as an array, and a run keeps no photos", (width, height)
    placement = explanation.placements[0]
    height, width = placement.image_size
    try:
        # Read once more, from where the run found it.
        photo = explanation.photos[0]
        return pictures.photo_of(photo, placement, *size), "", (width, height)
    except (GradsightError, OSError, ValueError) as error:  # gone, changed, or damaged by now
        return "", str(error), (width, height)


def _is_picture(explanation: Explanation) -> bool:
    return len(explanation.input_size) == 2 == explanation.maps.ndim - 2


def _drawn(explanation: Explanation, target: int, side: int) -> Image.Image | None:
    """The heat of a signal or a volume, drawn alone; None where the map has no place on the input."""
    if explanation.maps.ndim - 2 != len(explanation.input_size):
        return None
    return explanation.overlay(0, target, max_side=2 * side)


def _main(explanation: Explanation) -> int:
    """The map of what the model took the photo for, or the first."""
    best = explanation.predictions[0][0].index if explanation.predictions else None
    return next((j for j, target in enumerate(explanation.targets[0]) if target.index == best is not None), 0)


def _views(explanation: Explanation, extent: tuple[int, int], side: int, *, several: bool) -> Iterator[View]:
    for j, target in enumerate(explanation.targets[0]):
        heat, at = _heat(explanation, j, extent, side)
        score = float(explanation.scores[0, j])
        rank = f"target {j + 1}" if len(explanation.targets[0]) > 1 else "the target"
        yield View(
            kind=f"{explanation.heading.rpartition(', model ')[0]}, {rank}" if several else rank,
            target=target.label,
            score=f"{score:.2f}" if isfinite(score) else "unknown",
            signed=target.signed,
            heat=heat,
            at=at,
            place=_rect(target.place) if target.place else None,
            where=_where(explanation, j),
            notes=tuple(note.text for note in explanation.target_notes[0][j]) if explanation.target_notes else (),
        )


def _heat(explanation: Explanation, j: int, extent: tuple[int, int], side: int) -> tuple[str, Rect]:
    """The heat of a map, and where on the photo it lies."""
    whole = (0.0, 0.0, float(extent[0]), float(extent[1]))
    if not _is_picture(explanation):
        drawn = _drawn(explanation, j, side)
        return "" if drawn is None else address(imaging.encoded(drawn, "PNG"), "png"), whole
    heat = explanation.heatmaps(size=explanation.maps.shape[2:])[0, j]
    found = pictures.heat_of(heat, signed=explanation.targets[0][j].signed)
    if not explanation.placements:
        return found, whole
    return found, _rect(explanation.placements[0].box)


def _rect(box: Sequence[float]) -> Rect:
    top, left, bottom, right = box
    return round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)


def _where(explanation: Explanation, j: int) -> str:
    """Where the map is hottest, in words; empty where it is hot nowhere."""
    region = explanation.region(0, j) if _is_picture(explanation) else None
    if region is None:
        return ""
    height, width = explanation.placements[0].image_size if explanation.placements else explanation.input_size
    # Of the peak: the area around it may be most of the photo.
    row, column = region.peak
    return named((row / height, column / width, (row + 1) / height, (column + 1) / width))
