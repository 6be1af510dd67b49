"""Networks that say which shapes a scene holds, which pixels are whose, and where each thing is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

import scenes
import worlds
from scenes import SHAPES, SIZE, Scene
from worlds import CELLS, FEATURES, WIDTH


class Shapes(nn.Module):
    """Whether each shape is there, (n, shapes): a classifier of several labels, told nothing of places."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.gathered(WIDTH)
        self.head = nn.Linear(WIDTH, len(SHAPES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(pixels).amax((2, 3)))


def some(rng: np.random.Generator) -> Scene:
    """A scene of one to three things of different shapes."""
    return worlds.pair(rng, int(rng.integers(1, 4)))


def _shapes_loss(net: Shapes, batch: Sequence[Scene]) -> Any:
    held = [[float(any(thing.shape == shape for thing in scene.things)) for shape in SHAPES] for scene in batch]
    return F.binary_cross_entropy_with_logits(net(scenes.tensor(batch)), torch.tensor(held))


def shapes(steps: int = 250) -> Shapes:
    return worlds.trained(Shapes, some, _shapes_loss, steps=steps)


def alone(rng: np.random.Generator) -> Scene:
    """A scene of one thing."""
    return worlds.pair(rng, 1)


class Rivals(nn.Module):
    """Which shape a scene of one thing holds, (n, shapes): classes that exclude each other, told nothing of places.

    A mean over the cells, in which all that speaks against a class counts, where a maximum drops it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.pretrained()
        self.head = nn.Linear(FEATURES, len(SHAPES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(pixels).mean((2, 3)))


def _rivals_loss(net: Rivals, batch: Sequence[Scene]) -> Any:
    return F.cross_entropy(net(scenes.tensor(batch)), torch.tensor([SHAPES.index(x.things[0].shape) for x in batch]))


def rivals(steps: int = 150) -> Rivals:
    return worlds.trained(Rivals, alone, _rivals_loss, steps=steps, rate=0.05)


class Segments(nn.Module):
    """A small U-Net: background and shapes at each pixel, (n, 1 + shapes, SIZE, SIZE)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = worlds.block(3, 16, 5, 2), worlds.block(16, WIDTH, 3, 2)
        self.bottom = nn.Sequential(worlds.block(WIDTH, WIDTH), worlds.block(WIDTH, WIDTH))
        self.decoder = worlds.block(WIDTH + 16, WIDTH)
        self.head = nn.Conv2d(WIDTH, 1 + len(SHAPES), 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        fine = self.fine(pixels)
        below = F.interpolate(self.bottom(self.coarse(fine)), scale_factor=2.0)
        return F.interpolate(self.head(self.decoder(torch.cat((below, fine), 1))), scale_factor=2.0, mode="bilinear")


def segments_of(batch: Sequence[Scene]) -> torch.Tensor:
    """(n, SIZE, SIZE): the class at each pixel, 0 for the background."""
    found = torch.zeros(len(batch), SIZE, SIZE, dtype=torch.long)
    for segment, scene in zip(found, batch, strict=True):
        for thing in scene.things:
            segment[torch.from_numpy(thing.mask)] = 1 + SHAPES.index(thing.shape)
    return found


def _segments_loss(net: Segments, batch: Sequence[Scene]) -> Any:
    return F.cross_entropy(net(scenes.tensor(batch)), segments_of(batch))


def segments(steps: int = 150) -> Segments:
    return worlds.trained(Segments, some, _segments_loss, steps=steps)


def centre_box(box: Sequence[int]) -> list[float]:
    """(cx, cy, w, h) in shares of the picture, of (top, left, bottom, right) in pixels."""
    top, left, bottom, right = (side / SIZE for side in box)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def any_things(rng: np.random.Generator) -> Scene:
    """A scene of two or three things of any shapes, equal ones among them."""
    return scenes.scene(rng, [(None, None)] * int(rng.integers(2, 4)))


class Yolo(nn.Module):
    """One stage: of each cell the thing whose centre lies in it, (n, 4 + shapes, cells).

    The rows are cx, cy, w, h in pixels and the logit of each shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.encoder()
        self.head = nn.Conv2d(WIDTH, 4 + len(SHAPES), 1)
        middles = (torch.arange(CELLS) + 0.5) * SIZE / CELLS
        across = middles.expand(CELLS, CELLS)
        self.register_buffer("middles", torch.stack((across, across.T)).flatten(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        offset, size, logits = self.head(self.encoder(pixels)).flatten(2).split((2, 2, len(SHAPES)), 1)
        return torch.cat((self.middles + 4 * offset, 20 * size.exp(), logits - 3), 1)


def _yolo_loss(net: Yolo, batch: Sequence[Scene]) -> Any:
    found = net(scenes.tensor(batch))
    wanted, distance, count = torch.zeros_like(found[:, 4:]), torch.zeros(()), 0
    for i, scene in enumerate(batch):
        for thing in scene.things:
            box = SIZE * torch.tensor(centre_box(thing.box))
            column, row = (box[:2] * CELLS / SIZE).long().tolist()
            cell = row * CELLS + column
            wanted[i, SHAPES.index(thing.shape), cell] = 1
            distance, count = distance + (found[i, :4, cell] - box).abs().mean(), count + 1
    scores = F.binary_cross_entropy_with_logits(found[:, 4:], wanted, reduction="sum")
    return (scores + 0.3 * distance) / count


def yolo(steps: int = 300) -> Yolo:
    return worlds.trained(Yolo, any_things, _yolo_loss, steps=steps)


class Detr(nn.Module):
    """Queries that attend to the cells and each give one thing or none (DETR, arXiv:2005.12872).

    Each query starts from a place of its own (as in arXiv:2109.07107), without which few steps do not suffice.
    """

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.encoder = worlds.encoder()
        middles = (torch.arange(side) + 0.5) / side
        self.register_buffer("anchors", torch.cartesian_prod(middles, middles).flip(1))
        cells = (torch.arange(CELLS) + 0.5) / CELLS
        self.register_buffer("places", _waves(torch.cartesian_prod(cells, cells).flip(1)))
        self.queries = nn.Parameter(0.1 * torch.randn(side * side, 64))
        self.start, self.memory = nn.Linear(64, 64), nn.Linear(WIDTH, 64)
        self.cross = nn.MultiheadAttention(64, 4, batch_first=True)
        self.among = nn.MultiheadAttention(64, 4, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.logits = nn.Linear(64, len(SHAPES) + 1)
        self.boxes = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """``logits`` (n, q, shapes + 1), the last for nothing, and ``pred_boxes`` (n, q, 4): cx, cy, w, h in shares."""
        cells = self.memory(self.encoder(pixels).flatten(2).transpose(1, 2))
        places = self.start(_waves(self.anchors))
        found = self.queries.expand(len(pixels), -1, -1)
        keys = cells + self.start(self.places)
        found = self.norms[0](found + self.cross(found + places, keys, cells, need_weights=False)[0])
        beside = found + places
        found = self.norms[1](found + self.among(beside, beside, found, need_weights=False)[0])
        found = self.norms[2](found + self.mlp(found))
        offset, size = self.boxes(found).chunk(2, -1)
        boxes = torch.cat((self.anchors + 0.2 * offset.tanh(), size.sigmoid()), -1)
        return {"logits": self.logits(found), "pred_boxes": boxes}


def _waves(places: torch.Tensor) -> torch.Tensor:
    """(positions, 64): sines and cosines of (x, y) in 0 to 1."""
    angles = places[:, :, None] * torch.pi * torch.arange(1, 17) / 2
    return torch.cat((angles.sin(), angles.cos()), -1).flatten(1)


def _detr_loss(net: Detr, batch: Sequence[Scene]) -> Any:
    found = net(scenes.tensor(batch))
    classes = torch.full(found["logits"].shape[:2], len(SHAPES))
    chosen, wanted = [], []
    for i, scene in enumerate(batch):
        boxes = torch.tensor([centre_box(thing.box) for thing in scene.things])
        shapes = torch.tensor([SHAPES.index(thing.shape) for thing in scene.things])
        with torch.no_grad():
            cost = 5 * torch.cdist(found["pred_boxes"][i], boxes, p=1) - found["logits"][i].softmax(-1)[:, shapes]
        queries, things = map(torch.from_numpy, linear_sum_assignment(cost.numpy()))
        classes[i, queries] = shapes[things]
        chosen.append(found["pred_boxes"][i, queries])
        wanted.append(boxes[things])
    weights = torch.tensor([1.0] * len(SHAPES) + [0.2])
    distance = F.l1_loss(torch.cat(chosen), torch.cat(wanted))
    return F.cross_entropy(found["logits"].flatten(0, 1), classes.flatten(), weights) + 10 * distance


def detr(steps: int = 500) -> Detr:
    return worlds.trained(Detr, any_things, _detr_loss, steps=steps, rate=2e-3)
