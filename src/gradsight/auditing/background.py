"""How far a model decides by the background: by its heat, and by photos with another object, or another background."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.annotations import Marks, placed
from gradsight.auditing.exchanging import FEWEST, Cut, exchanged
from gradsight.auditing.heat import averaged
from gradsight.auditing.loading import Loader
from gradsight.auditing.scoring import Pictures
from gradsight.auditing.seen import UNKNOWN, Seen
from gradsight.errors import GradsightError
from gradsight.evaluating.places import SEEN
from gradsight.significance import Interval, interval

_TRIED = 40
"""So many photos of a class are tried without object and without background."""

_COLOURED = 16
"""Of so many photos of each class the mean colour is taken."""

_WORST = 12

_LARGE = 0.9
"""An object that fills more of the photo leaves no background to look at."""


@dataclass(frozen=True, eq=False)
class Reliance:
    """How far one class is decided by the background.

    Attributes:
        target: the class.
        photos: how many with a known object.
        on_object: the share of a map's heat on the object, over photos.
        area: the share of the photo that is object, on average: that of heat that is even.
        right: the same as ``on_object`` of photos that were taken for what they are; None where labels are not known.
        wrong: of those that were not.
        without_object: by how much the class's probability falls without the object.
        without_background: by how much it falls without all the rest.
        other_object: by how much it falls with the object of a photo taken for another class, more than with that of
            another photo taken for this one; None where too few of either have a known object.
        other_background: by how much it falls on the background of such a photo, likewise.
        reliance: the share of these two falls that is the background's, in [0, 1]; NaN where neither is a fall.
        worst: rows of the photos with the least heat on the object, the least first.
    """

    target: int
    photos: int
    on_object: Interval
    area: float
    right: Interval | None
    wrong: Interval | None
    without_object: Interval | None
    without_background: Interval | None
    other_object: Interval | None
    other_background: Interval | None
    reliance: float
    worst: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Objects:
    """Where objects are on what the model gets of photos.

    Attributes:
        regions: by row of what was seen, (h, w) of the model's input: where the object is.
        problems: what could not be placed, in words.
    """

    regions: Mapping[int, NDArray[np.bool_]]
    problems: tuple[str, ...] = ()


def objects_of(seen: Seen, marks: Sequence[Marks | None], classes: Mapping[str, Collection[int]]) -> Objects:
    """Bring what people drew to what the model gets; of photos that it saw enough of.

    Args:
        seen: the photos.
        marks: of each, where its objects are; None where nothing is known.
        classes: for each label of a box the classes that it means; where no label means a photo's class, all its boxes
            are its object.
    """
    regions, problems = {}, []
    for row, own in enumerate(marks):
        if own is None:
            continue
        # Boxes of other things on the photo are background to its class.
        meant = {label for label, indices in classes.items() if seen.targets[row] in indices}
        labels = meant & {box.label for box in own.boxes}
        try:
            found = placed(own, seen.placements[row], labels or None)
        # Boxes of another photo cost this photo its figure, and nothing else.
        except GradsightError as error:
            problems.append(f"{seen.keys[row]}: {error}")
            continue
        # An object that was cut away cannot be looked at.
        if found.seen >= SEEN and 0 < found.region.mean() <= _LARGE:
            regions[row] = found.region
    return Objects(regions, tuple(problems))


def reliances(seen: Seen, objects: Objects, loader: Loader | None, seed: int = 0) -> tuple[Reliance, ...]:
    """How far each class is decided by the background; without a loader by its heat alone."""
    shares = {row: _on_object(seen, row, region) for row, region in objects.regions.items()}
    tried = None if loader is None else Tried(seen, loader, objects, _colour(seen, loader), seed)
    found = []
    for target, rows in seen.of.items():
        own = np.array([row for row in rows if row in shares], np.intp)
        if len(own):
            found.append(_reliance(seen, (target, own), shares, objects, tried))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Tried:
    """What photos are changed with.

    Attributes:
        seen: the photos.
        loader: reads them, and asks the model.
        objects: where the objects are.
        colour: (c, 1, 1), what the background becomes.
        seed: of the photos that are drawn.
    """

    seen: Seen
    loader: Loader
    objects: Objects
    colour: NDArray[np.float32]
    seed: int

    def probability(self, target: int, pictures: Pictures) -> NDArray[np.float64]:
        """(n,): how probable the class is."""
        return self.loader.scorer.probabilities(pictures)[:, target]

    def others(self, target: int, most: int) -> Cut | None:
        """So many photos that the model takes for other classes, with known objects; None where there are too few."""
        # Before anything is cut out: of a thousand classes most have a photo or two.
        if most < FEWEST:
            return None
        taken = (self.seen.targets != target) & (self.seen.predictions != target)
        # Whatever they are: of a model that goes by backgrounds those that it got wrong have the most telling ones.
        known = np.array([row for row in np.flatnonzero(taken) if row in self.objects.regions], np.intp)
        # Drawn from all: the first in a folder would be of one class.
        drawn = np.random.default_rng((self.seed, target)).permutation(known)
        pictures, used = self.loader.pictures(drawn, most)
        return Cut.of(pictures, [self.objects.regions[int(row)] for row in used]) if len(used) else None


def _colour(seen: Seen, loader: Loader) -> NDArray[np.float32]:
    """The mean colour of photos of all classes, each class as much as another, (c, 1, 1)."""
    # Not of one class alone: the mean of photos of cows is that of meadows, and says meadow still.
    means = []
    for rows in seen.of.values():
        pictures, used = loader.pictures(rows, _COLOURED)
        if len(used):
            means.append(pictures.mean(axis=(0, 2, 3)))
    return np.mean(means, axis=0)[:, None, None] if means else np.zeros((1, 1, 1), np.float32)


def _on_object(seen: Seen, row: int, region: NDArray[np.bool_]) -> float:
    # On the grid of the heat, where a cell may be half object.
    covered = averaged(region.astype(np.float64), (seen.heat.shape[1], seen.heat.shape[2]))
    return float((seen.heat[row] * covered).sum())


def _reliance(
    seen: Seen,
    which: tuple[int, NDArray[np.intp]],
    shares: Mapping[int, float],
    objects: Objects,
    tried: Tried | None,
) -> Reliance:
    target, rows = which
    own = np.array([shares[int(row)] for row in rows])
    known, right = seen.labels[rows] != UNKNOWN, seen.labels[rows] == seen.predictions[rows]
    # Right and wrong are told apart by heat alone: there are too few wrong ones to try things on.
    falls = None if tried is None else _falls(target, rows, tried)
    swapped = None if falls is None else falls.exchanged
    return Reliance(
        target=target,
        photos=len(rows),
        on_object=interval(own),
        area=float(np.mean([objects.regions[int(row)].mean() for row in rows])),
        right=interval(own[known & right]) if known.any() else None,
        wrong=interval(own[known & ~right]) if known.any() else None,
        without_object=None if falls is None else interval(falls.without_object),
        without_background=None if falls is None else interval(falls.without_background),
        other_object=None if swapped is None else interval(swapped[1]),
        other_background=None if swapped is None else interval(swapped[0]),
        reliance=float("nan") if swapped is None else _share(*swapped),
        worst=tuple(int(row) for row in rows[np.argsort(own, kind="stable")][:_WORST]),
    )


@dataclass(frozen=True, eq=False)
class _Falls:
    """By how much the class's probability falls, (n,) each, as in `Reliance`; None where nothing could be exchanged."""

    without_object: NDArray[np.float64]
    without_background: NDArray[np.float64]
    exchanged: tuple[NDArray[np.float64], NDArray[np.float64]] | None


def _falls(target: int, rows: NDArray[np.intp], tried: Tried) -> _Falls | None:
    own, used = tried.loader.pictures(rows, _TRIED)
    if not len(used):
        return None
    # Only those that could be read again have a picture.
    cut = Cut.of(own, [tried.objects.regions[int(row)] for row in used])
    bare = without_background(own, cut.regions, tried.colour)
    before, alone, empty = (tried.probability(target, each) for each in (own, cut.bare, bare))
    others = tried.others(target, len(own))
    swapped = None if others is None else exchanged(tried.loader.scorer, target, cut, others, tried.seed)
    return _Falls(before - alone, before - empty, swapped)


def without_background(
    pictures: Pictures, regions: Iterable[NDArray[np.bool_]], colour: NDArray[np.float32]
) -> Pictures:
    """Photos with one colour, (c, 1, 1), in the place of what is no object."""
    return np.stack([np.where(region, picture, colour) for picture, region in zip(pictures, regions, strict=True)])


def _share(by_background: NDArray[np.float64], by_object: NDArray[np.float64]) -> float:
    # A rise is no reliance: another background may suit the class better.
    one, other = (max(0.0, float(fall.mean())) for fall in (by_background, by_object))
    return one / (one + other) if one + other > 0 else float("nan")
