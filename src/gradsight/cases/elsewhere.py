"""A map beside the same map laid elsewhere: whether it matters to the score where it is hot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.cases.case import Case
from gradsight.cases.removal import removing
from gradsight.foreign import Array


def outdone(case: Case, count: int, share: float, baseline: str) -> NDArray[np.float64]:
    """(n, k): the share of ``count`` maps laid elsewhere that a map outdoes; NaN where it is level or not finite.

    Of each map the hottest ``share`` of the picture is taken away at once, one image each: a map outdoes another where
    the score falls lower. Those laid elsewhere are the map itself, shifted around the picture along every axis and
    mirrored by chance: they are as hot, as smooth and as scattered as it is, and know nothing of the model. Noise would
    be no such rival: it takes a little of everything away, which hurts a score more than any one thing does.

    Args:
        case: the maps.
        count: how many maps are laid elsewhere; with the map itself they are ``count + 1`` images for each target.
        share: of the positions, in (0, 1).
        baseline: what is put in the place of what is taken away, by name.
    """
    scoring, remove = case.scoring, removing(case.scoring, baseline)

    def make(pairs: Sequence[tuple[int, int]]) -> Array:
        # A few at a time: at the input's size all of them together would be large.
        masks = np.stack([_hottest(_laid(case, version, target), case.size, share) for version, target in pairs])
        return remove(scoring.ops.asarray(masks, device=scoring.images.device))

    scores = scoring.by_target(count + 1, make)
    found = (scores[1:] > scores[0]).mean(axis=0)
    return np.where(np.ptp(case.flat, axis=-1) > 0, case.known(found), np.nan)


def _laid(case: Case, version: int, target: int) -> NDArray[np.floating]:
    """(n, *s): the maps of a target, laid elsewhere; as they are in version 0."""
    maps: NDArray[np.floating] = np.nan_to_num(case.maps[:, target])
    if version == 0:
        return maps
    # The same for every image and target, and whatever else is drawn: a figure depends on nothing beside it.
    random = case.scoring.random(5, version)
    for axis, side in enumerate(maps.shape[1:], 1):
        offset, mirrored = int(random.integers(1, max(2, side))), random.random() < 0.5
        maps = np.asarray(np.roll(np.flip(maps, axis) if mirrored else maps, offset, axis))
    return maps


def _hottest(maps: NDArray[np.floating], size: Sequence[int], share: float) -> NDArray[np.bool_]:
    """(n, *size): where maps (n, *s) are hottest, over such a share of the input's positions."""
    heat = imaging.resize(maps[:, None].astype(np.float64), tuple(size))[:, 0].reshape(len(maps), -1)
    first = np.argsort(-heat, axis=1, kind="stable")[:, : max(1, round(share * heat.shape[1]))]
    masks = np.zeros(heat.shape, bool)
    np.put_along_axis(masks, first, values=True, axis=1)
    return masks.reshape(len(maps), *size)
