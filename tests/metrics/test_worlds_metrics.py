"""Worlds whose answer is known: which metrics put the right map above a shifted, an inverted and a random one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import scenes
import worlds
from cases_of import case_as_asked
from gradsight.cases import Case
from gradsight.metric_registry import as_metric

pytestmark = [pytest.mark.pytorch, pytest.mark.slow]

SURE = ["energypointing", "iou", "maskauc", "relevancemass", "relevancerank"]
"""Those that do so in 95 of 100 images."""

IN_PART = {"deletion(baseline=mean)": ("shifted", "inverted"), "deletion": ("shifted", "inverted")}
"""Those that do so above some: noise takes a little of everything away at once, and no shape is left."""

COUNT = 40


def world() -> tuple[Case, Any]:
    """Scenes of two things, the first asked for, and the case of its mask."""
    things = worlds.drawn(worlds.pair, COUNT)
    targets = [worlds.THINGS.index((scene.things[0].colour, scene.things[0].shape)) for scene in things]
    case = case_as_asked(worlds.recogniser(), scenes.tensor(things), "gradcam", targets=targets)
    masks = np.stack([scene.things[0].mask for scene in things])[:, None]
    right = ndimage.gaussian_filter(masks.astype(np.float32), (0, 0, 2, 2))
    return replace(case, maps=right, regions=masks), targets


def wrong(case: Case) -> dict[str, Any]:
    maps = case.maps
    drawn = np.random.default_rng(0).random(maps.shape).astype(np.float32)
    return {"shifted": np.roll(maps, (24, 24), (2, 3)), "inverted": maps.max() - maps, "random": drawn}


def ranked(text: str, case: Case) -> dict[str, float]:
    """In which share of images the metric puts the right map above each wrong one."""
    metric, found = as_metric(text), {}
    own = metric(case)
    for name, maps in wrong(case).items():
        other = metric(replace(case, maps=maps))
        better = own > other if metric.better == "higher" else own < other
        found[name] = float(better.mean())
    return found


@pytest.mark.parametrize("text", SURE)
def test_a_metric_puts_the_right_map_above_wrong_ones(text: str) -> None:
    case, _ = world()
    found = ranked(text, case)
    assert min(found.values()) >= 0.95, found


@pytest.mark.parametrize("text", IN_PART)
def test_a_metric_puts_the_right_map_above_some_wrong_ones(text: str) -> None:
    case, _ = world()
    found = ranked(text, case)
    assert all(found[name] >= 0.95 for name in IN_PART[text]), found
    assert found["random"] > 0.5
