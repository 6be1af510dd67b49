"""Attention looks at the right thing where that is known: a small trained transformer, scenes it never saw."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

import gradsight as gs
import scenes
import worlds
import worlds_tokens
from scenes import COLOURS, Scene
from worlds_tokens import PATCH

pytestmark = [pytest.mark.slow, pytest.mark.pytorch, pytest.mark.timeout(600)]

OF_A_CLASS = [
    # LeGrad's scores are of means over tokens. The tokens of such a network know of each other, which Grad-CAM, that
    # takes each for its own place, cannot see: it peaks on the thing in half the scenes.
    ("mean", "gradientrollout"),
    ("mean", "legrad"),
    ("maximum", "gradientrollout"),
    ("maximum", "gradcam"),
]
POOLS = {"mean": torch.mean, "maximum": torch.amax}
OF_NONE = ("attention", "attentionrollout")


@functools.cache
def found(pool: str) -> tuple[list[Scene], dict[str, Any]]:
    """Held-out scenes that the network names right, and each method's maps for the colours of both things."""
    net, held_out = worlds_tokens.colours(POOLS[pool]), worlds.drawn(worlds_tokens.coloured, 200)
    own = [[thing.colour for thing in scene.things] for scene in held_out]
    with torch.no_grad():
        named = net(scenes.tensor(held_out)) > 0
    said = [{colour for colour, there in zip(COLOURS, row, strict=True) if there} for row in named]
    right = [colours == set(two) for colours, two in zip(said, own, strict=True)]
    print(f"scenes named right: {np.mean(right):.3f}")
    assert np.mean(right) > 0.95
    known = [scene for scene, r in zip(held_out, right, strict=True) if r]
    explainer = gs.Explainer(net, labels=list(COLOURS), layer="norm", layout="tokens", grid=(8, 8))
    made = explainer(
        scenes.tensor(known),
        targets=[[t.colour for t in x.things] for x in known],
        method=[*{name for _, name in OF_A_CLASS}, *OF_NONE],
    )
    return known, {one.method: one for one in made}


def on(scene: Scene, place: int, explanation: gs.Explanation, image: int, target: int) -> bool:
    """Whether the token where the map peaks holds some of a thing."""
    row, column = np.unravel_index(np.argmax(explanation.maps[image, target]), explanation.maps.shape[2:])
    cell = scene.things[place].mask[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
    return bool(cell.any())


@pytest.mark.parametrize(("pool", "name"), OF_A_CLASS)
def test_a_method_of_a_class_peaks_on_the_thing_that_is_asked_for(pool: str, name: str) -> None:
    known, by_name = found(pool)
    for place in range(2):
        hits = [on(scene, place, by_name[name], i, place) for i, scene in enumerate(known)]
        print(f"{pool}, {name}, thing {place + 1}: {np.mean(hits):.3f} of {len(hits)}")
        assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("name", OF_NONE)
def test_attention_alone_is_the_same_for_both_and_is_told_to_be(name: str) -> None:
    known, by_name = found("mean")
    maps = by_name[name].maps
    np.testing.assert_allclose(maps[:, 0], maps[:, 1], rtol=1e-6)
    for notes in by_name[name].target_notes:
        assert all("same_for_all" in {note.code for note in some} for some in notes)
    either = [any(on(scene, p, by_name[name], i, 0) for p in range(2)) for i, scene in enumerate(known)]
    print(f"{name}, either thing: {np.mean(either):.3f}")
    assert np.mean(either) >= 0.8
