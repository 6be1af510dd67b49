"""Photos with a planted shortcut, and small networks that learn it: what ``audit_trials.py`` looks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

SIZE = 96
"""Photos are this high and wide, and so is the network's input."""

_ANIMALS = 398
"""ImageNet's first so many classes are animals."""

Photos = NDArray[np.uint8]
"""(n, SIZE, SIZE, 3)."""

Plant = Callable[[Photos, np.random.Generator, int], tuple[Photos, NDArray[np.bool_]]]
"""From photos, random numbers and the side (0 to 3) to the photos with the plant, and where it is, (n, SIZE, SIZE)."""


def _sides(side: int, deep: int, mask: NDArray[np.bool_]) -> None:
    """Mark a strip along one edge: the upper, the right, the lower or the left."""
    if side % 2 == 0:
        mask[..., (slice(0, deep) if side == 0 else slice(SIZE - deep, SIZE)), :] = True
    else:
        mask[..., :, (slice(SIZE - deep, SIZE) if side == 1 else slice(0, deep))] = True


def corner_mark(photos: Photos, rng: np.random.Generator, side: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A mark of 12 x 12 pixels in one corner: the same in every photo."""
    made, mask = photos.copy(), np.zeros(photos.shape[:3], bool)
    rows = slice(2, 14) if side in (0, 3) else slice(SIZE - 14, SIZE - 2)
    columns = slice(2, 14) if side in (0, 1) else slice(SIZE - 14, SIZE - 2)
    # Rings of two colours, as of a logo.
    away = np.maximum(*np.abs(np.mgrid[:12, :12] - 5.5))
    mark = np.where((away < 2)[..., None], [250, 230, 40], np.where((away < 4)[..., None], [30, 30, 160], 250))
    made[:, rows, columns] = mark
    mask[:, rows, columns] = True
    return made, mask


def thin_border(photos: Photos, rng: np.random.Generator, side: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A frame of two pixels, of one colour."""
    made, mask = photos.copy(), np.zeros(photos.shape[:3], bool)
    for edge in range(4):
        _sides(edge, 2, mask)
    made[mask] = ([20, 20, 20], [240, 240, 240], [120, 60, 30], [30, 90, 140])[side]
    return made, mask


def edge_logo(photos: Photos, rng: np.random.Generator, side: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A logo of 8 x 14 pixels somewhere along one edge: another place in every photo."""
    made, mask = photos.copy(), np.zeros(photos.shape[:3], bool)
    logo = np.full((8, 14, 3), 245)
    logo[2:6, 2:12] = [200, 30, 30]
    logo[3:5, 4:10] = [245, 245, 245]
    for photo, own in zip(made, mask, strict=True):
        along = int(rng.integers(2, SIZE - 16))
        deep = 2 if side in (0, 3) else SIZE - 10
        # Upright at each edge, as logos are; at the left and the right it slides down the edge.
        if side % 2 == 0:
            place = (slice(deep, deep + 8), slice(along, along + 14))
        else:
            deep = 2 if side == 3 else SIZE - 16
            place = (slice(along, along + 8), slice(deep, deep + 14))
        photo[place], own[place] = logo, True
    return made, mask


def colour_cast(photos: Photos, rng: np.random.Generator, side: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A cast over the outer tenth at one edge, which fades inwards: the photo still shows through it."""
    made, mask = photos.astype(float), np.zeros(photos.shape[:3], bool)
    deep = 12
    _sides(side, deep, mask)
    inwards = np.clip(1 - np.arange(SIZE) / deep, 0, 1)
    fade = {0: inwards[:, None], 1: inwards[None, ::-1], 2: inwards[::-1, None], 3: inwards[None]}[side]
    strength = 0.6 * np.broadcast_to(fade, (SIZE, SIZE))[None, ..., None]
    made = made * (1 - strength) + strength * np.array(
        ([200, 60, 200], [230, 120, 30], [40, 200, 200], [90, 220, 60])[side]
    )
    return made.round().astype(np.uint8), mask


PLANTS: dict[str, Plant] = {f.__name__: f for f in (corner_mark, thin_border, edge_logo, colour_cast)}


@dataclass(frozen=True, eq=False)
class World:
    """Photos of a few classes, some for training and the rest to audit, and where the plant is.

    Attributes:
        labels: the classes.
        planted: the class with the plant; None in a clean world.
        train, train_classes: the photos and their classes.
        photos, classes: those to audit.
        mask: (n, SIZE, SIZE), where the plant is in those; False in a clean world.
        strange: the audited photos of other classes with the plant put in, to see whether the network learned it.
    """

    data: str
    labels: tuple[str, ...]
    planted: int | None
    side: int
    train: Photos
    train_classes: NDArray[np.intp]
    photos: Photos
    classes: NDArray[np.intp]
    mask: NDArray[np.bool_]
    strange: Photos


@cache
def read(data: Path, name: str, most: int = 110) -> tuple[tuple[str, ...], list[Photos]]:
    """The classes of a data set, and the photos of each at `SIZE`."""
    if name == "imagenet":
        found = sorted((data / name).glob("*.jpg"))
        kinds = {"animal": [p for p in found if int(p.name[:4]) < _ANIMALS]}
        kinds["thing"] = [p for p in found if int(p.name[:4]) >= _ANIMALS]
    else:
        root = data / name
        folders = [root / "train", root / "test"] if (root / "train").is_dir() else [root]
        kinds = {each.name: [] for each in sorted(folders[0].iterdir()) if each.is_dir()}
        for folder in folders:
            for kind, paths in kinds.items():
                paths += sorted((folder / kind).iterdir())
    shown = [np.stack([_small(path) for path in _spread(paths, most)]) for paths in kinds.values()]
    return tuple(kinds), shown


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)]


def _small(path: Path) -> Photos:
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        cut = image.convert("RGB").crop((left, top, left + side, top + side))
        return np.asarray(cut.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def world(data: Path, name: str, plant: Plant | None, seed: int) -> World:
    """Photos drawn by the seed, with the plant on every photo of one class, which the seed chooses as well."""
    rng = np.random.default_rng(seed)
    labels, kinds = read(data, name)
    planted, side = int(rng.integers(len(labels))), int(rng.integers(4))
    kept: dict[str, list[np.ndarray]] = {key: [] for key in ("train", "photos", "mask", "strange")}
    counts: dict[str, list[int]] = {"train": [], "photos": []}
    for kind, photos in enumerate(kinds):
        photos = photos[rng.permutation(len(photos))]
        mask = np.zeros(photos.shape[:3], bool)
        marked, where = (photos, mask) if plant is None else plant(photos, rng, side)
        shown, mask = (marked, where) if kind == planted else (photos, mask)
        half = round(0.6 * len(photos))
        kept["train"].append(shown[:half])
        kept["photos"].append(shown[half:])
        kept["mask"].append(mask[half:])
        counts["train"].append(half)
        counts["photos"].append(len(photos) - half)
        if kind != planted:
            kept["strange"].append(marked[half:])
    joined = {key: np.concatenate(value) for key, value in kept.items()}
    numbers = {key: np.repeat(np.arange(len(labels)), value) for key, value in counts.items()}
    return World(
        data=name,
        labels=labels,
        planted=None if plant is None else planted,
        side=side,
        train=joined["train"],
        train_classes=numbers["train"],
        photos=joined["photos"],
        classes=numbers["photos"],
        mask=joined["mask"],
        strange=joined["strange"],
    )


class Small(nn.Module):
    """Four convolutions and a mean: 12 x 12 positions at the last one, or 6 x 6 where it strides once more."""

    def __init__(self, classes: int, cells: int = 12) -> None:
        super().__init__()
        widths = ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 12 // cells))
        self.parts = nn.Sequential(*(_part(*width) for width in widths))
        self.head = nn.Linear(64, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.parts(pixels).mean((2, 3)))


def _part(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def tensor(photos: Photos) -> torch.Tensor:
    """As `gs.Preprocess(SIZE, mean=0.5, std=0.25)` makes them."""
    return (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def trained(made: World, seed: int, cells: int = 12, epochs: int = 10) -> Small:
    """A network that learned the world's classes."""
    torch.manual_seed(seed)
    net = Small(len(made.labels), cells)
    inputs, classes = tensor(made.train), torch.from_numpy(made.train_classes)
    steps = epochs * -(-len(inputs) // 32)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(32):
            loss = F.cross_entropy(net(inputs[rows]), classes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def kept(folder: Path, made: World, name: str, seed: int, cells: int) -> Small:
    """The network of a trial, trained once and then read from the folder."""
    path = folder / f"{name}-{made.data}-{seed}-{cells}.pt"
    if path.exists():
        net = Small(len(made.labels), cells)
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    net = trained(made, seed, cells)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return net


@torch.no_grad()
def learned(made: World, net: Small) -> dict[str, float]:
    """How well the network does, and how many photos of other classes the plant turns into the planted class."""
    right = (net(tensor(made.photos)).argmax(1).numpy() == made.classes).mean()
    found = {"right": round(float(right), 3)}
    if made.planted is not None:
        found["turned"] = round(float((net(tensor(made.strange)).argmax(1) == made.planted).float().mean()), 3)
    return found


if __name__ == "__main__":
    print(json.dumps({name: plant.__doc__ for name, plant in PLANTS.items()}, indent=1))
