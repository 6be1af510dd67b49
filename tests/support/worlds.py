"""What the networks of the worlds with a known answer share: cells of a picture, words, and how they are trained."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import scenes
from scenes import COLOURS, SHAPES, Scene

WIDTH = 32
CELLS = 16  # along each side of a picture, each of 4 x 4 pixels
FEATURES = 64
HELD_OUT = 2016  # the seed of scenes that no network was trained on
THINGS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
WORDS = ("<pad>", "<start>", "<end>", "a", "and", "what", "colour", "is", "the", "?", *COLOURS, *SHAPES)


def block(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution with its normalisation, which in training alone knows of other places, and a ReLU."""
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def encoder() -> nn.Sequential:
    """From pictures to (n, WIDTH, CELLS, CELLS): a cell sees 25 pixels, a thing and little else."""
    return nn.Sequential(block(3, 16, 5, 2), block(16, WIDTH, 3, 2), block(WIDTH, WIDTH), block(WIDTH, WIDTH))


def gathered(features: int) -> nn.Sequential:
    """The same with so many channels, each cell the mean of those around it, as far as a thing reaches.

    A maximum over such cells is where most of a thing lies, not at its most telling corner.
    """
    return nn.Sequential(encoder(), block(WIDTH, features, 1), nn.AvgPool2d(5, 1, 2))


def tokens(text: str) -> list[int]:
    """The numbers of a text's words."""
    return [WORDS.index(word) for word in text.split()]


def pair(rng: np.random.Generator, count: int = 2) -> Scene:
    """A scene of things of different shapes, in any colours, the shapes in the order of `SHAPES`."""
    chosen = np.sort(rng.choice(len(SHAPES), count, replace=False))
    return scenes.scene(rng, [(SHAPES[i], None) for i in chosen])


def drawn(draw: Callable[[np.random.Generator], Scene], count: int, seed: int = HELD_OUT) -> list[Scene]:
    """So many scenes; those of the held-out seed unless another is given."""
    rng = np.random.default_rng(seed)
    return [draw(rng) for _ in range(count)]


def trained(
    build: Callable[[], nn.Module],
    draw: Callable[[np.random.Generator], Scene],
    loss: Callable[[Any, Sequence[Scene]], Any],
    *,
    steps: int,
    rate: float = 4e-3,
    count: int = 64,
    seed: int = 0,
) -> Any:
    """A network in evaluation mode, after so many steps of ``loss(net, scenes)`` on batches of scenes."""
    pool, rng = drawn(draw, 3000, seed), np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build().train()
        optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        for _ in range(steps):
            optimiser.zero_grad()
            loss(net, [pool[i] for i in rng.integers(len(pool), size=count)]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return net.eval()


class Recogniser(nn.Module):
    """Which things a scene holds, (n, things), each a colour with a shape; told nothing of places."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = gathered(FEATURES)
        self.head = nn.Linear(FEATURES, len(THINGS))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(pixels).amax((2, 3)))


def _recogniser_loss(net: Recogniser, batch: Sequence[Scene]) -> Any:
    held = [{(thing.colour, thing.shape) for thing in scene.things} for scene in batch]
    wanted = torch.tensor([[float(thing in row) for thing in THINGS] for row in held])
    return F.binary_cross_entropy_with_logits(net(scenes.tensor(batch)), wanted)


class Frozen(nn.Sequential):
    """Layers that were trained before, and are not trained any more."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


@functools.cache
def recogniser(steps: int = 300) -> Any:
    return trained(Recogniser, pair, _recogniser_loss, steps=steps)


def pretrained() -> Frozen:
    """The recogniser's cells, (n, FEATURES, CELLS, CELLS)."""
    return Frozen(*copy.deepcopy(recogniser().encoder)).requires_grad_(False)
