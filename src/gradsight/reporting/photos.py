"""The photos that a report shows, each with its heat, within so many bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradsight.reporting.listing import Listing
from gradsight.reporting.views import VIEWS, Photo, photo_of
from gradsight.results.explanations import each_of
from gradsight.runs.opened import Run

_SIDES = ((384, 80), (288, 76), (224, 72), (160, 66), (112, 60))
"""How large photos may be, in pixels of the longer side, and their quality; the first that fits is taken."""

_TRIED = 6
"""So many photos are made at each size to see whether all fit."""


@dataclass(frozen=True)
class Gallery:
    """The photos of a report.

    Attributes:
        photos: in the order of the run.
        side: the longer side of each in pixels, at most.
        full: no more fitted into the page.
        cut: of how many of them not all maps are shown.
    """

    photos: tuple[Photo, ...]
    side: int
    full: bool
    cut: int


def gallery_of(run: Run, listing: Listing, keys: Sequence[str], room: int) -> Gallery:
    """As many of the photos as fit, as large as they fit.

    Args:
        run: that they are of.
        listing: of it.
        keys: the photos, those that matter most first.
        room: bytes that they may take.
    """
    side, quality = _fitting(run, listing, keys, room)
    made: list[Photo] = []
    taken, cut = 0, 0
    for key in keys:
        explained = each_of(run[key])
        photo = photo_of(explained, key, listing.entries[key], (side, quality))
        # Later ones may be smaller, but a gap in the order of what matters could not be explained.
        if taken + photo.bytes > room:
            break
        taken, cut = taken + photo.bytes, cut + (sum(len(one.targets[0]) for one in explained) > VIEWS)
        made.append(photo)
    place = {key: i for i, key in enumerate(listing.entries)}
    ordered = sorted(made, key=lambda photo: place[photo.key])
    return Gallery(tuple(replace(one, number=i) for i, one in enumerate(ordered)), side, len(made) < len(keys), cut)


def _fitting(run: Run, listing: Listing, keys: Sequence[str], room: int) -> tuple[int, int]:
    """The largest size at which all of the photos fit, to judge by a few of them; the smallest where they never do."""
    # Evenly over all of them: the first are examples of one finding.
    tried = keys[:: max(1, len(keys) // _TRIED)][:_TRIED]
    for size in _SIDES:
        mean = sum(photo_of(each_of(run[key]), key, listing.entries[key], size).bytes for key in tried)
        # A tenth of room, since a few photos do not tell all.
        if 1.1 * mean * len(keys) <= room * max(1, len(tried)):
            return size
    return _SIDES[-1]
