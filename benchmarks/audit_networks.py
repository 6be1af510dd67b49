"""Networks that learn a world of ``audit_worlds.py``, trained once and then read from a folder.

``small``: four convolutions in PyTorch, of 96 x 96 pixels. ``lite0``: the real weights of EfficientNet-Lite0, of which
the last five blocks and a new head are trained, of 224 x 224 pixels: 7 x 7 positions. ``keras``: the small one in
Keras, with the engine that KERAS_BACKEND names.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import audit_worlds as worlds
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

import gradsight as gs
from gradsight.auditing.scoring import Scorer

if TYPE_CHECKING:
    import keras

_FROZEN = 11
"""Blocks of EfficientNet-Lite0 that keep their weights: all but those with 7 x 7 positions."""


@dataclass(frozen=True)
class Recipe:
    """Which network, and how it is trained.

    Attributes:
        kind: ``small``, ``lite0`` or ``keras``.
        cells: positions along a side of the last layer of the small ones: 12 or 6.
        epochs: how long it learns; the longer, the more surely it takes a weak shortcut.
    """

    kind: str = "small"
    cells: int = 12
    epochs: int = 10

    @property
    def side(self) -> int:
        """Of the photos, in pixels."""
        return 224 if self.kind == "lite0" else worlds.SIZE

    @property
    def positions(self) -> int:
        """Along a side of the explained layer."""
        return 7 if self.kind == "lite0" else self.cells

    def explainer(self, made: worlds.World, folder: Path, name: str, seed: int) -> gs.Explainer:
        """Of the network of a trial."""
        net = _kept(self, made, folder / f"{name}-{made.data}-{seed}-{self.positions}{self._suffix}")
        mean, std = (0.498, 0.502) if self.kind == "lite0" else (0.5, 0.25)
        # The channels' order of arrays is the model's own affair.
        preprocess = gs.Preprocess(self.side, mean=mean, std=std)
        return gs.Explainer(net, preprocess=preprocess, labels=made.labels, batch_size=16 if self.side > 100 else 64)

    @property
    def _suffix(self) -> str:
        long = "" if self.epochs == Recipe.epochs else f"-{self.epochs}"
        return {"small": "", "lite0": "-lite0", "keras": "-keras"}[self.kind] + long


def learned(made: worlds.World, explainer: gs.Explainer) -> dict[str, float]:
    """How well a network does, how many photos of other classes the plant turns, and how far it raises the class."""
    scorer = Scorer(explainer)

    def asked(photos: worlds.Photos) -> NDArray[np.float64]:
        return scorer.probabilities(np.stack([scorer.prepared(photo).array for photo in photos]))

    found = asked(made.photos)
    told = {"right": round(float((found.argmax(1) == made.classes).mean()), 3)}
    if made.planted is not None:
        strange, plain = asked(made.strange), found[made.classes != made.planted]
        told["turned"] = round(float((strange.argmax(1) == made.planted).mean()), 3)
        told["raised"] = round(float((strange - plain)[:, made.planted].mean()), 3)
    return told


class Small(nn.Module):
    """Four convolutions and a mean: 12 x 12 positions at the last one, or 6 x 6 where it strides once more."""

    def __init__(self, classes: int, cells: int = 12) -> None:
        super().__init__()
        self.parts = nn.Sequential(*(_part(*width) for width in _widths(cells)))
        self.head = nn.Linear(64, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.parts(pixels).mean((2, 3)))


def _widths(cells: int) -> tuple[tuple[int, int, int], ...]:
    """(channels before, after, stride) of each convolution."""
    return (3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 12 // cells)


def _part(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def _kept(recipe: Recipe, made: worlds.World, path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = len(made.labels)
    if recipe.kind == "keras":
        return _kept_keras(recipe, made, path.with_name(f"{path.name}.weights.h5"))
    torch.manual_seed(int(path.name.split("-")[2]))
    net = Small(classes, recipe.cells) if recipe.kind == "small" else _lite(classes)
    path = path.with_name(f"{path.name}.pt")
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    inputs, truth = tensor(made.train, recipe), torch.from_numpy(made.train_classes)
    learner: nn.Module = net
    if recipe.kind == "lite0":
        net.eval()
        inputs, learner = _stem(net, inputs), _LiteTail(net)
    fitted(learner, inputs, truth, recipe)
    torch.save(net.state_dict(), path)
    return net.eval()


def tensor(photos: worlds.Photos, recipe: Recipe) -> torch.Tensor:
    mean, std = (0.498, 0.502) if recipe.kind == "lite0" else (0.5, 0.25)
    return (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - mean) / std


def fitted(net: nn.Module, inputs: torch.Tensor, classes: torch.Tensor, recipe: Recipe) -> None:
    lite = recipe.kind == "lite0"
    steps, rate = recipe.epochs * -(-len(inputs) // 32), 5e-4 if lite else 3e-3
    free = [one for one in net.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(free, rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * rate, steps)
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(inputs)).split(32):
            loss = F.cross_entropy(net(inputs[rows]), classes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _lite(classes: int) -> Any:
    net = copy.deepcopy(gs.load_model("demo").model)
    net._fc = nn.Linear(net._fc.in_features, classes)
    return net.to(memory_format=torch.channels_last).requires_grad_(True)


@torch.no_grad()
def _stem(net: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What the frozen blocks make of photos: once for all epochs."""
    return torch.cat([_blocks(net, part, range(_FROZEN)) for part in pixels.split(16)])


def _blocks(net: Any, pixels: torch.Tensor, which: range) -> torch.Tensor:
    found = net._swish(net._bn0(net._conv_stem(pixels))) if which.start == 0 else pixels
    for i in which:
        found = net._blocks[i](found)
    return found


class _LiteTail(nn.Module):
    """What follows the frozen blocks; normalised by the means that it was made with, since the photos are few."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self._net = [net]
        self.parts = nn.ModuleList([*net._blocks[_FROZEN:], net._conv_head, net._bn1, net._fc])

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        (net,) = self._net
        found = _blocks(net, found, range(_FROZEN, len(net._blocks)))
        return net._fc(net._swish(net._bn1(net._conv_head(found))).mean((2, 3)))


def _kept_keras(recipe: Recipe, made: worlds.World, path: Path) -> keras.Model:
    import keras

    keras.utils.set_random_seed(int(path.name.split("-")[2]))
    net = keras.Sequential([keras.Input((recipe.side, recipe.side, 3)), *_layers(len(made.labels), recipe.cells)])
    if path.exists():
        net.load_weights(path)
        return net
    net.compile(keras.optimizers.AdamW(3e-3, weight_decay=1e-2), "sparse_categorical_crossentropy")
    net.fit((made.train / 255.0 - 0.5) / 0.25, made.train_classes, batch_size=32, epochs=recipe.epochs, verbose=0)
    net.save_weights(path)
    return net


def _layers(classes: int, cells: int) -> Iterator[keras.Layer]:
    from keras import layers

    for _, outputs, stride in _widths(cells):
        yield layers.Conv2D(outputs, 3, stride, "same")
        # Of few steps: the means of 0.99 would still be those of the start.
        yield layers.BatchNormalization(momentum=0.9)
        yield layers.ReLU()
    yield layers.GlobalAveragePooling2D()
    yield layers.Dense(classes, "softmax")
