"""How far a model decides by the background: by its heat, and by photos without the object, or without the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.annotations import Marks, placed
from gradsight.auditing.heat import averaged
from gradsight.auditing.loading import Loader
from gradsight.auditing.scoring import Pictures
from gradsight.auditing.seen import UNKNOWN, Seen
from gradsight.cases.imputing import imputed
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
        reliance: the share of both falls that is the background's, in [0, 1]; NaN where neither is a fall.
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


def reliances(seen: Seen, objects: Objects, loader: Loader | None) -> tuple[Reliance, ...]:
    """How far each class is decided by the background; without a loader by its heat alone."""
    shares = {row: _on_object(seen, row, region) for row, region in objects.regions.items()}
    tried = None if loader is None else Tried(loader, objects, _colour(seen, loader))
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
        loader: reads them, and asks the model.
        objects: where the objects are.
        colour: (c, 1, 1), what the background becomes.
    """

    loader: Loader
    objects: Objects
    colour: NDArray[np.float32]


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
    return Reliance(
        target=target,
        photos=len(rows),
        on_object=interval(own),
        area=float(np.mean([objects.regions[int(row)].mean() for row in rows])),
        right=interval(own[known & right]) if known.any() else None,
        wrong=interval(own[known & ~right]) if known.any() else None,
        without_object=None if falls is None else interval(falls[0]),
        without_background=None if falls is None else interval(falls[1]),
        reliance=float("nan") if falls is None else _share(falls),
        worst=tuple(int(row) for row in rows[np.argsort(own, kind="stable")][:_WORST]),
    )


def _falls(target: int, rows: NDArray[np.intp], tried: Tried) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """By how much the class's probability falls without the object, and without the background, (n,) each."""
    pictures, used = tried.loader.pictures(rows, _TRIED)
    if not len(used):
        return None
    # Only those that could be read again have a picture.
    regions = [tried.objects.regions[int(row)] for row in used]
    before = tried.loader.scorer.probabilities(pictures)[:, target]
    changed = [without_object(pictures, regions), without_background(pictures, regions, tried.colour)]
    after = [tried.loader.scorer.probabilities(each)[:, target] for each in changed]
    return before - after[0], before - after[1]


def without_object(pictures: Pictures, regions: Sequence[NDArray[np.bool_]]) -> Pictures:
    """Photos with the object filled from what is around it (linear imputation, arXiv:2202.00449)."""
    made = [imputed(picture, region) for picture, region in zip(pictures, regions, strict=True)]
    return np.stack(made).astype(np.float32)


def without_background(
    pictures: Pictures, regions: Sequence[NDArray[np.bool_]], colour: NDArray[np.float32]
) -> Pictures:
    """Photos with one colour, (c, 1, 1), in the place of what is no object."""
    return np.stack([np.where(region, picture, colour) for picture, region in zip(pictures, regions, strict=True)])


def _share(falls: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    # A rise is no reliance: without the background some photos are clearer.
    by_object, by_background = (max(0.0, float(fall.mean())) for fall in falls)
    both = by_object + by_background
    return by_background / both if both > 0 else float("nan")
