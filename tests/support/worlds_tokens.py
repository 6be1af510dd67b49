"""A small vision transformer that says which colours the things of a scene have, told nothing of places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import scenes
import worlds
from scenes import COLOURS, SIZE, Scene

WIDTH, PATCH = 48, 8

Pool: TypeAlias = Callable[[torch.Tensor, int], torch.Tensor]
"""Such as ``torch.mean``: one of all tokens."""


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalisation and beside a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normed = self.norms[0](tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.norms[1](tokens))


class Colours(nn.Module):
    """Whether a thing of each colour is there, (n, colours), from the mean or the maximum of the tokens."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIZE // PATCH) ** 2, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(COLOURS))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(pixels).flatten(2).transpose(1, 2) + self.places
        return self.head(self.pool(self.norm(self.blocks(tokens)), 1))


def coloured(rng: np.random.Generator) -> Scene:
    """A scene of two things of different colours, of any shapes."""
    first, second = rng.choice(list(COLOURS), 2, replace=False)
    return scenes.scene(rng, [(None, str(first)), (None, str(second))])


def some(rng: np.random.Generator) -> Scene:
    """A scene of one to three things of different colours."""
    chosen = rng.choice(list(COLOURS), int(rng.integers(1, 4)), replace=False)
    return scenes.scene(rng, [(None, str(colour)) for colour in chosen])


def _loss(net: Colours, batch: Sequence[Scene]) -> Any:
    held = [[float(any(thing.colour == colour for thing in scene.things)) for colour in COLOURS] for scene in batch]
    return F.binary_cross_entropy_with_logits(net(scenes.tensor(batch)), torch.tensor(held))


def colours(pool: Pool, steps: int = 250) -> Colours:
    net: Colours = worlds.trained(partial(Colours, pool), some, _loss, steps=steps, rate=3e-3, count=32)
    return net
