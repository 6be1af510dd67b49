"""Photos with a planted shortcut, what ``audit_trials.py`` looks for; ``audit_networks.py`` has the networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 96
"""Photos are this high and wide, and so is the network's input, unless another side is asked for; sizes of plants are
for this side, and grow with it."""

_ANIMALS = 398
"""ImageNet's first so many classes are animals."""

Photos = NDArray[np.uint8]
"""(n, side, side, 3)."""

Plant = Callable[[Photos, np.random.Generator, int], tuple[Photos, NDArray[np.bool_]]]
"""From photos, random numbers and the edge (0 to 3) to the photos with the plant, and where it is, (n, side, side)."""


def _px(length: int, side: int) -> int:
    """A length of a plant, which is given for photos of `SIZE`."""
    return round(length * side / SIZE)


def _sides(edge: int, deep: int, mask: NDArray[np.bool_]) -> None:
    """Mark a strip along one edge: the upper, the right, the lower or the left."""
    side = mask.shape[-1]
    if edge % 2 == 0:
        mask[..., (slice(0, deep) if edge == 0 else slice(side - deep, side)), :] = True
    else:
        mask[..., :, (slice(side - deep, side) if edge == 1 else slice(0, deep))] = True


def corner_mark(photos: Photos, rng: np.random.Generator, edge: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A mark of 12 x 12 pixels in one corner: the same in every photo."""
    made, mask, side = photos.copy(), np.zeros(photos.shape[:3], bool), photos.shape[1]
    long, gap = _px(12, side), _px(2, side)
    near, far = slice(gap, gap + long), slice(side - gap - long, side - gap)
    rows, columns = near if edge in (0, 3) else far, near if edge in (0, 1) else far
    # Rings of two colours, as of a logo.
    away = np.maximum(*np.abs((np.mgrid[:long, :long] + 0.5) * 12 / long - 6))
    mark = np.where((away < 2)[..., None], [250, 230, 40], np.where((away < 4)[..., None], [30, 30, 160], 250))
    made[:, rows, columns] = mark
    mask[:, rows, columns] = True
    return made, mask


def thin_border(photos: Photos, rng: np.random.Generator, edge: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A frame of two pixels, of one colour."""
    made, mask = photos.copy(), np.zeros(photos.shape[:3], bool)
    for each in range(4):
        _sides(each, _px(2, photos.shape[1]), mask)
    made[mask] = ([20, 20, 20], [240, 240, 240], [120, 60, 30], [30, 90, 140])[edge]
    return made, mask


def edge_logo(photos: Photos, rng: np.random.Generator, edge: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A logo of 8 x 14 pixels somewhere along one edge: another place in every photo."""
    made, mask, side = photos.copy(), np.zeros(photos.shape[:3], bool), photos.shape[1]
    high, wide, gap = _px(8, side), _px(14, side), _px(2, side)
    logo = np.full((high, wide, 3), 245)
    logo[_px(2, side) : _px(6, side), _px(2, side) : _px(12, side)] = [200, 30, 30]
    logo[_px(3, side) : _px(5, side), _px(4, side) : _px(10, side)] = [245, 245, 245]
    for photo, own in zip(made, mask, strict=True):
        along = int(rng.integers(gap, side - _px(16, side)))
        # Upright at each edge, as logos are; at the left and the right it slides down the edge.
        if edge % 2 == 0:
            top, left = gap if edge == 0 else side - gap - high, along
        else:
            top, left = along, gap if edge == 3 else side - gap - wide
        place = slice(top, top + high), slice(left, left + wide)
        photo[place], own[place] = logo, True
    return made, mask


def colour_cast(photos: Photos, rng: np.random.Generator, edge: int) -> tuple[Photos, NDArray[np.bool_]]:
    """A cast over the outer eighth at one edge, which fades inwards: the photo still shows through it."""
    made, mask, side = photos.astype(float), np.zeros(photos.shape[:3], bool), photos.shape[1]
    deep = _px(12, side)
    _sides(edge, deep, mask)
    inwards = np.clip(1 - np.arange(side) / deep, 0, 1)
    fade = {0: inwards[:, None], 1: inwards[None, ::-1], 2: inwards[::-1, None], 3: inwards[None]}[edge]
    strength = 0.6 * np.broadcast_to(fade, (side, side))[None, ..., None]
    made = made * (1 - strength) + strength * np.array(
        ([200, 60, 200], [230, 120, 30], [40, 200, 200], [90, 220, 60])[edge]
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
        mask: (n, side, side), where the plant is in those; False in a clean world.
        strange: the audited photos of other classes with the plant put in, to see whether the network learned it.
    """

    data: str
    labels: tuple[str, ...]
    planted: int | None
    edge: int
    train: Photos
    train_classes: NDArray[np.intp]
    photos: Photos
    classes: NDArray[np.intp]
    mask: NDArray[np.bool_]
    strange: Photos


@cache
def read(data: Path, name: str, side: int = SIZE, most: int = 110) -> tuple[tuple[str, ...], list[Photos]]:
    """The classes of a data set, and the photos of each."""
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
    shown = [np.stack([_small(path, side) for path in _spread(paths, most)]) for paths in kinds.values()]
    return tuple(kinds), shown


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)]


def _small(path: Path, side: int) -> Photos:
    with Image.open(path) as image:
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        cut = image.convert("RGB").crop((left, top, left + short, top + short))
        return np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR))


def world(data: Path, name: str, plant: Plant | None, seed: int, side: int = SIZE) -> World:
    """Photos drawn by the seed, with the plant on every photo of one class, which the seed chooses as well."""
    rng = np.random.default_rng(seed)
    labels, kinds = read(data, name, side)
    planted, edge = int(rng.integers(len(labels))), int(rng.integers(4))
    kept: dict[str, list[np.ndarray]] = {key: [] for key in ("train", "photos", "mask", "strange")}
    counts: dict[str, list[int]] = {"train": [], "photos": []}
    for kind, photos in enumerate(kinds):
        photos = photos[rng.permutation(len(photos))]
        mask = np.zeros(photos.shape[:3], bool)
        marked, where = (photos, mask) if plant is None else plant(photos, rng, edge)
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
        edge=edge,
        train=joined["train"],
        train_classes=numbers["train"],
        photos=joined["photos"],
        classes=numbers["photos"],
        mask=joined["mask"],
        strange=joined["strange"],
    )


if __name__ == "__main__":
    print(json.dumps({name: plant.__doc__ for name, plant in PLANTS.items()}, indent=1))
