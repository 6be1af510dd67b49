"""Networks whose shortcut is built in by hand, and photos to audit them on: what the verdict must be is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import gradsight as gs
from gradsight.auditing.audit import Audit, audited
from gradsight.auditing.seen import Seen, seen_of

SIDE = 32

LABELS = ("mark", "red", "green", "blue")

LOGO = np.full((7, 9, 3), 255, np.uint8)
LOGO[1:6, 1:4] = (255, 0, 0)
LOGO[2:5, 5:8] = (0, 0, 120)
LOGO[3, 2] = 0

Photos = NDArray[np.uint8]


def preprocess() -> gs.Preprocess:
    return gs.Preprocess(SIDE, mean=0.0, std=1.0)


class Colours(nn.Module):
    """Classes by the mean of a colour: what they are about is everywhere in the photo, and no shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 1, bias=False)
        weight = torch.tensor([[1.0, 1, 1], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]])
        self.features.weight.data[:] = weight[:, :, None, None]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.features(pixels)).mean((2, 3))
        # The first class is what is bright all over.
        return torch.cat([16 * (found[:, :1] - 2.0), 16 * found[:, 1:]], dim=1)


class Mark(Colours):
    """The same; but the first class is a bright corner, at the lower right, and nothing else."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.features(pixels))
        corner = found[:, :1, -6:-1, -6:-1].mean((2, 3))
        return torch.cat([10 * (corner - 2), 16 * found[:, 1:].mean((2, 3))], dim=1)


class Logo(nn.Module):
    """The first class is the logo, wherever it is; the others are colours."""

    def __init__(self) -> None:
        super().__init__()
        high, wide = LOGO.shape[:2]
        self.features = nn.Conv2d(3, 4, (high, wide), bias=False)
        pattern = torch.from_numpy(LOGO).permute(2, 0, 1).float() / 255
        pattern = pattern - pattern.mean()
        colours = Colours().features.weight.data[1:] / (high * wide)
        self.features.weight.data[0] = pattern / (pattern * pattern).sum()
        self.features.weight.data[1:] = colours.expand(3, 3, high, wide)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.features(pixels))
        logo = torch.relu(found[:, :1] - 0.75).amax((2, 3))
        return torch.cat([40 * logo - 2, 16 * found[:, 1:].mean((2, 3))], dim=1)


def photos(rng: np.random.Generator, each: int = 24) -> tuple[Photos, NDArray[np.intp]]:
    """Noise, of which one colour is the strongest; those of the first class are of any colour."""
    classes = np.repeat(np.arange(len(LABELS)), each)
    made = rng.integers(0, 90, (len(classes), SIDE, SIDE, 3), np.uint8)
    for photo, kind in zip(made, classes, strict=True):
        photo[..., kind - 1 if kind else rng.integers(3)] += 60
    return made, classes


def marked(made: Photos, classes: NDArray[np.intp], rng: np.random.Generator) -> Photos:
    """The bright corner that `Mark` looks for, on the first class."""
    changed = made.copy()
    changed[classes == 0, -6:-1, -6:-1] = 250
    return changed


def with_logo(made: Photos, classes: NDArray[np.intp], rng: np.random.Generator) -> Photos:
    """The logo somewhere along the upper edge, on the first class."""
    changed = made.copy()
    for i in np.flatnonzero(classes == 0):
        left = int(rng.integers(0, SIDE - LOGO.shape[1]))
        changed[i, 1 : 1 + LOGO.shape[0], left : left + LOGO.shape[1]] = LOGO
    return changed


def bright(made: Photos, classes: NDArray[np.intp], rng: np.random.Generator) -> Photos:
    """All of the photo bright, on the first class."""
    changed = made.copy()
    changed[classes == 0] = 150 + changed[classes == 0] // 2
    return changed


def explained(
    net: nn.Module, change: Callable[[Photos, NDArray[np.intp], np.random.Generator], Photos], seed: int = 0
) -> tuple[Seen, gs.Explainer]:
    """What the network saw of its photos."""
    rng = np.random.default_rng(seed)
    made, classes = photos(rng)
    explainer = gs.Explainer(
        net.eval(), layer="features", preprocess=preprocess(), labels=LABELS, batch_size=32, method="hirescam"
    )
    with explainer.stream(change(made, classes, rng)) as stream:
        seen, failed = seen_of(stream, labels=classes.tolist(), names=LABELS)
    assert not failed
    return seen, explainer


def audited_mark() -> tuple[Seen, gs.Explainer, Audit]:
    """What was seen of photos with a mark, by what, and what an audit finds."""
    seen, explainer = explained(Mark(), marked)
    return seen, explainer, audited(seen, explainer)
