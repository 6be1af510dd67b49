"""Worlds with a known answer: coloured shapes on a noisy ground, and where each of them lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPES = ("square", "circle", "triangle", "cross")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 225),
    "yellow": (235, 210, 50),
}
SIZE = 64
_SIDES = (16, 22)  # of a thing, in pixels, the latter exclusive
_APART = 3


@dataclass(frozen=True)
class Thing:
    """One shape of a scene.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        mask: (SIZE, SIZE), true where it is.
    """

    shape: str
    colour: str
    mask: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right), the latter two exclusive."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: (SIZE, SIZE, 3) uint8.
        things: none covers another.
    """

    image: NDArray[np.uint8]
    things: tuple[Thing, ...]


def scene(rng: np.random.Generator, wanted: Sequence[tuple[str | None, str | None]]) -> Scene:
    """A scene of the shapes and colours that are wanted, None for any, at random places that do not touch."""
    image = rng.normal(110, 12, (SIZE, SIZE, 3))
    taken = np.zeros((SIZE, SIZE), bool)
    things = []
    for shape, colour in wanted:
        shape = shape or str(rng.choice(SHAPES))
        colour = colour or str(rng.choice(list(COLOURS)))
        mask = _placed(rng, shape, taken)
        top, left, bottom, right = Thing(shape, colour, mask).box
        taken[max(0, top - _APART) : bottom + _APART, max(0, left - _APART) : right + _APART] = True
        image[mask] = np.array(COLOURS[colour]) + rng.normal(0, 12, (int(mask.sum()), 3))
        things.append(Thing(shape, colour, mask))
    return Scene(image.clip(0, 255).astype(np.uint8), tuple(things))


def tensor(scenes: Sequence[Scene]) -> Any:
    """The pictures as a batch for PyTorch, (n, 3, SIZE, SIZE), about -1 to 1."""
    import torch

    pixels = np.stack([x.image for x in scenes]).transpose(0, 3, 1, 2)
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def _placed(rng: np.random.Generator, shape: str, taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of the shape at a free place."""
    for _ in range(1000):
        side = int(rng.integers(*_SIDES))
        top, left = rng.integers(0, SIZE - side + 1, 2)
        inside = (slice(top, top + side), slice(left, left + side))
        if not taken[inside].any():
            mask = np.zeros((SIZE, SIZE), bool)
            mask[inside] = _drawn(shape, side)
            return mask
    raise RuntimeError("no place is left for another thing")


def _drawn(shape: str, side: int) -> NDArray[np.bool_]:
    """(side, side), true in the shape."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    away = np.abs(columns - side / 2)
    found: dict[str, NDArray[np.bool_]] = {
        "square": np.ones((side, side), bool),
        "circle": np.hypot(rows - side / 2, columns - side / 2) <= side / 2,
        "triangle": away <= rows / 2,
        "cross": (away <= side / 6) | (np.abs(rows - side / 2) <= side / 6),
    }
    return found[shape]
