"""A network trained on coloured shapes, whose channels are called by concepts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from scenes import COLOURS, SHAPES, Scene, scene, tensor

CLASSES = (*SHAPES, *COLOURS)


SEEN = 220  # scenes that the concepts are drawn from


CHANNELS = 32


def scenes_of(seed: int, count: int) -> list[Scene]:
    """One or two things in each."""
    rng = np.random.default_rng(seed)
    return [scene(rng, [(None, None)] * int(rng.integers(1, 3))) for _ in range(count)]


def present(scenes: list[Scene]) -> torch.Tensor:
    """(n, 8): which shapes and colours are in each."""
    return torch.tensor([[any(c in (x.shape, x.colour) for x in s.things) for c in CLASSES] for s in scenes]).float()


def network() -> nn.Sequential:
    """Without the dropout, and with twice the channels, many stand for two concepts at once ("green circle").

    No one name says what such a channel does, and only about three of four are then called what they do.
    """
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 16, 2), (16, 32, 1), (32, 48, 2), (48, CHANNELS, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    head = (nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(CHANNELS, len(CLASSES)))
    return nn.Sequential(*layers, *head)


def trained() -> nn.Sequential:
    torch.manual_seed(3)
    model, scenes = network(), scenes_of(1, 2400)
    inputs, wanted = tensor(scenes), present(scenes)
    epochs, batch = 9, 50
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    steps = epochs * len(scenes) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(scenes)).split(batch):
            loss = nn.functional.binary_cross_entropy_with_logits(model(inputs[some]), wanted[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def write_concepts(folder: Path, scenes: list[Scene]) -> None:
    """A folder for each shape and colour; a scene lies in those of all its things."""
    for number, found in enumerate(scenes):
        for kind in ("shape", "colour"):
            for name in {getattr(thing, kind) for thing in found.things}:
                masks = [thing.mask for thing in found.things if getattr(thing, kind) == name]
                place = folder / kind / name
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(found.image).save(place / f"{number}.png")
                Image.fromarray(np.any(masks, axis=0)).save(place / f"{number}.mask.png")
