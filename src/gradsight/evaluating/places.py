"""Where the things of a batch's targets are, at the size of the model's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.annotations import Placed, placed, placed_by_class
from gradsight.errors import GradsightError
from gradsight.evaluating.items import Classes, Item
from gradsight.imaging import Placement
from gradsight.targets import ScoreSpec

SEEN = 0.25
"""Of a thing of which the model saw less than this share, by area, no map can tell much: it has no figure."""


@dataclass(frozen=True, eq=False)
class Things:
    """Where the things of n images and k targets are.

    Attributes:
        regions: (n, k, *positions) bool.
        boxes: for each image and target (b, 4), see `Case.boxes`.
        problems: for each image what is wrong, in words.
    """

    regions: NDArray[np.bool_]
    boxes: tuple[tuple[NDArray[np.float64], ...], ...]
    problems: tuple[tuple[str, ...], ...]


def things_of(
    items: Sequence[Item], placements: Sequence[Placement], targets: ScoreSpec, classes: Classes | None
) -> Things:
    """Where the things are that the targets of a batch are about.

    Args:
        items: the photos.
        placements: where the model's input lies on each.
        targets: what is explained of them.
        classes: what the labels of boxes mean; None of masks.
    """
    count, problems, found = targets.count, [], []
    for i, (item, placement) in enumerate(zip(items, placements, strict=True)):
        own = [_nothing(placement)] * count
        told: tuple[str, ...] = ()
        try:
            own = _of_image(item, placement, [target.index for target in targets.names[i]], classes) or own
        # Boxes of another photo cost this photo its localisation, and nothing else.
        except GradsightError as error:
            told = (str(error),)
        problems.append(told)
        found.append([one if one.seen >= SEEN else _nothing(placement) for one in own])
    regions = np.stack([np.stack([one.region for one in row]) for row in found])
    return Things(regions, tuple(tuple(one.boxes for one in row) for row in found), tuple(problems))


def _of_image(
    item: Item, placement: Placement, indices: Sequence[int | None], classes: Classes | None
) -> list[Placed] | None:
    if item.marks is None:
        return None
    if item.labels:
        return [placed(item.marks, placement, {label}) for label in item.labels]
    # Where no label means a class, all boxes of a photo are its target's; a mask has no label.
    if not classes or item.marks.mask is not None:
        return [placed(item.marks, placement)] * len(indices)
    return list(placed_by_class(item.marks, placement, indices, classes))


def _nothing(placement: Placement) -> Placed:
    return Placed(np.zeros((0, 4)), np.zeros(placement.input_size, bool), 0.0, 0)
