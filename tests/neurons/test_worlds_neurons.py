"""Channels of a network trained on coloured shapes: are they called by what they do?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from scenes import SIZE, Scene, tensor
from worlds_neurons import CHANNELS, CLASSES, SEEN, present, scenes_of, trained, write_concepts

pytestmark = [pytest.mark.slow, pytest.mark.pytorch, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    began = time.perf_counter()
    model = trained()
    print(f"\ntrained in {time.perf_counter() - began:.0f} s")
    folder = tmp_path_factory.mktemp("concepts")
    write_concepts(folder, scenes_of(2, SEEN))
    preprocess = gs.Preprocess(size=(SIZE, SIZE), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    explainer = gs.Explainer(model, preprocess=preprocess, labels=CLASSES, layer="11", name="shapes and colours")
    began = time.perf_counter()
    dissection = explainer.dissect(folder)
    print(f"dissected in {time.perf_counter() - began:.1f} s: {dissection}")
    return model, explainer, dissection


def drops(model: nn.Sequential, scenes: list[Scene]) -> np.ndarray:
    """(channels, n, 8): how much each logit of each scene loses when one channel is zeroed everywhere."""
    stem, head = model[:12], model[12:]
    with torch.no_grad():
        maps = stem(tensor(scenes))
        whole = head(maps)
        found = []
        for channel in range(maps.shape[1]):
            without = maps.clone()
            without[:, channel] = 0
            found.append((whole - head(without)).numpy())
    return np.stack(found)


def test_the_network_knows_its_world(world: Any) -> None:
    model, _, _ = world
    held_out = scenes_of(5, 300)
    with torch.no_grad():
        right = ((model(tensor(held_out)) > 0) == present(held_out).bool()).float().mean(0)
    print("accuracy:", dict(zip(CLASSES, right.tolist(), strict=True)))
    assert right.min() > 0.9


def test_named_channels_do_what_their_names_say(world: Any) -> None:
    """A channel is named by where it is active, in scenes with masks; it is judged by what it does, in other scenes.

    Zeroing it, of the eight logits the one of its name must lose most, on average over scenes that hold that concept.
    """
    model, _, dissection = world
    held_out = scenes_of(6, 400)
    lost, there = drops(model, held_out), present(held_out).numpy() > 0
    right, chance, rows = [], [], []
    for channel in range(CHANNELS):
        name = dissection.name(channel)
        if name is None:
            continue
        mine = CLASSES.index(name)
        mean = lost[channel][there[:, mine]].mean(0)
        right.append(int(mean.argmax()) == mine)
        chance.append(np.mean([int(lost[channel][there[:, c]].mean(0).argmax()) == c for c in range(8)]))
        rows.append(
            f"{channel:3} {name:9} IoU {dissection.best(channel)[1]:.2f}  loses most: {CLASSES[int(mean.argmax())]:9} "
            f"{mean.max():6.2f}, its own {mean[mine]:6.2f}  {'right' if right[-1] else 'WRONG'}"
        )
    print("\n".join(rows))
    print(
        f"named {len(right)} of {CHANNELS}, right {sum(right)} ({np.mean(right):.0%}); at random {np.mean(chance):.0%}"
    )
    assert len(right) >= 20
    assert np.mean(right) >= 0.8


def test_the_sentence_names_first_what_it_is_about(world: Any) -> None:
    """Of the shape and the colour of a thing that is there, the first name in the sentence is the class itself."""
    _, explainer, dissection = world
    scenes = scenes_of(8, 60)
    targets = [[scene.things[0].shape, scene.things[0].colour] for scene in scenes]
    explanation = explainer([Image.fromarray(scene.image) for scene in scenes], targets=targets)
    right = []
    for i, row in enumerate(targets):
        for j, name in enumerate(row):
            neurons = explanation.neurons(5, i, j, dissection=dissection)
            spoke = [x.name for x in neurons.positive if x.name and x.contribution > 0]
            right.append(spoke[:1] == [name])
            if i < 3:
                print(f"{row}: {neurons.sentence}")
    print(f"the class itself is named first in {np.mean(right):.0%} of {len(right)} sentences")
    assert np.mean(right) >= 0.8
