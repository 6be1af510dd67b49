"""What is measured of maps for the rows of a run: those of one photo by all methods together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gradsight.imaging import Region
from gradsight.results.explanation import Explanation
from gradsight.results.regions import regions_of
from gradsight.runs.concentration import Concentration, concentrations_of
from gradsight.runs.maps import all_packed


class Measures(NamedTuple):
    """What is kept of one map, and measured of it.

    Attributes:
        region: where it is hot, in pixels of the photo; None where it is so nowhere.
        map: it as float16.
        scale: what that is multiplied by.
        heat: how its heat is spread.
    """

    region: Region | None
    map: bytes
    scale: float
    heat: Concentration


def measured(explanations: Sequence[Explanation], image: int) -> list[list[Measures]]:
    """The measures of one photo's maps: for each explanation of each target.

    Args:
        explanations: of one call, for each layer and method.
        image: which image.

    Raises:
        InvalidArgument: maps have other axes than the model's input.
    """
    found: dict[int, list[Measures]] = {}
    for alike in _of_one_shape(explanations):
        own = [explanations[i] for i in alike]
        # Those of one shape in one go: for a map alone it is the calls that take time, and not the numbers.
        maps = np.stack([one.maps[image] for one in own])
        signed = np.array([[target.signed for target in one.targets[image]] for one in own])
        each = zip(all_packed(maps.reshape(-1, *maps.shape[2:])), concentrations_of(maps, signed), strict=True)
        for i, regions in zip(alike, regions_of(own, image), strict=True):
            found[i] = [
                Measures(region, *content, heat) for region, (content, heat) in zip(regions, each, strict=False)
            ]
    return [found[i] for i in range(len(explanations))]


def _of_one_shape(explanations: Sequence[Explanation]) -> list[list[int]]:
    """The numbers of explanations in groups of which the maps of each have one shape."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, one in enumerate(explanations):
        groups.setdefault(one.maps.shape, []).append(i)
    return list(groups.values())
