"""Where a layer's positions lie, found out by changing patches of a noise image, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from survey_models import Case

import gradsight as gs

PATCHES, STRENGTH = 13, 3.0
DRAWS, MORE_DRAWS = 2, 8
"""Noise images: more where a few leave it open."""
AXES = {1: ("columns",), 2: ("rows", "columns"), 3: ("frames", "rows", "columns")}
STEPS = {1: (1,), 2: (1, 5), 3: (4, 1, 5)}
"""Patch k lies at ``step * k % PATCHES`` along each axis: all over it, and along no other axis alike."""
ORDERLY, DISORDERLY, STEADY = 0.85, 0.7, 0.6


class Trial(NamedTuple):
    """Where patches were, and where the layer changed: (PATCHES, axes); how often halves of the draws agree."""

    true: NDArray[np.int64]
    centres: NDArray[np.float64]
    steady: float

    @property
    def shift(self) -> NDArray[np.float64]:
        """How many cells the centres lie off along each axis, as a rule."""
        return np.asarray(np.median(self.centres - self.true, axis=0))

    def correlation(self, found: int, true: int) -> float:
        """Of one axis as it was found with one as it was; 0 where all was found in one place."""
        a, b = self.centres[:, found], self.true[:, true]
        return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


def places(grid: Sequence[int]) -> NDArray[np.int64]:
    """The cells that are marked."""
    k = np.arange(PATCHES)
    along = [(k * step % PATCHES + 0.5) / PATCHES * side for step, side in zip(STEPS[len(grid)], grid, strict=True)]
    return np.stack(along, axis=1).astype(np.int64)


def patch(cell: Sequence[int], grid: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """The pixels of a cell; of fine grids more, as a few pixels are soon lost."""
    found = []
    for at, cells, side in zip(cell, grid, size, strict=True):
        middle, half = (at + 0.5) * side / cells, max(side / cells, side / 16) / 2
        found.append(slice(max(0, round(middle - half)), max(round(middle - half) + 1, round(middle + half))))
    return tuple(found)


def changes(case: Case, explainer: gs.Explainer, grid: Sequence[int], seed: int) -> NDArray[np.float64]:
    """How much each position of the layer changes with each patch: (PATCHES, *grid), of mean 1."""
    generator = np.random.default_rng(seed)
    images = np.repeat(generator.standard_normal(case.shape, np.float32), PATCHES + 1, axis=0)
    first = np.moveaxis(images, case.axes, range(1, len(case.axes) + 1))  # a view: the positions in front
    for i, cell in enumerate(places(grid)):
        part = first[i + 1][patch(cell, grid, [case.shape[axis] for axis in case.axes])]
        part[...] = STRENGTH * generator.standard_normal(part.shape, np.float32)
    seen: list[Any] = []

    def keep(probe: Any, _ops: Any) -> Any:
        seen.append(np.asarray(getattr(probe.activations, "detach", lambda: probe.activations)(), np.float64))
        return probe.activations[:, :1]

    explainer(case.feed(images), targets=case.target, method=keep)
    activations = np.concatenate(seen)
    moved = np.sqrt(((activations[1:] - activations[:1]) ** 2).sum(axis=1))
    return np.asarray(moved / max(float(moved.mean()), 1e-300))


def beside(moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each position changes with each patch, in terms of what patches usually change there."""
    return moved / (np.median(moved, axis=0) + 0.1)


def peaks(changed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The positions that change most: (PATCHES, axes)."""
    found = np.unravel_index(changed.reshape(PATCHES, -1).argmax(axis=1), changed.shape[1:])
    return np.stack(found, axis=1).astype(np.float64)


def centres(changed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle of what changes more than most positions, finer than a cell: (PATCHES, axes)."""
    flat = changed.reshape(PATCHES, -1)
    weights = np.maximum(flat - np.median(flat, axis=1, keepdims=True), 0) ** 2 + 1e-12
    cells = np.stack(np.unravel_index(np.arange(flat.shape[1]), changed.shape[1:]), axis=1)
    return np.asarray(weights @ cells / weights.sum(axis=1, keepdims=True))


def tried(case: Case, explainer: gs.Explainer, grid: Sequence[int]) -> dict[str, str]:
    """Correlations, shift and verdict of a layer, as the columns of a row."""
    draws = [beside(changes(case, explainer, grid, seed)) for seed in range(DRAWS)]
    found = judged(read(draws), grid)
    if found["verdict"] != "unclear":
        return found
    draws += [beside(changes(case, explainer, grid, seed)) for seed in range(DRAWS, MORE_DRAWS)]
    return judged(read(draws), grid)


def read(draws: Sequence[NDArray[np.float64]]) -> Trial:
    """What several noise images say together, and whether halves of them agree."""
    grid = draws[0].shape[1:]
    halves = [peaks(np.mean(draws[start::2], axis=0)) for start in range(2)]
    near = (np.abs(halves[0] - halves[1]) <= np.array(grid) // 10).all(axis=1)  # of few cells two soon agree by chance
    return Trial(places(grid), centres(np.mean(draws, axis=0)), float(near.mean()))


def limit(grid: Sequence[int]) -> NDArray[np.float64]:
    """Cells: what lies as far off as that along an axis is another place, of fine grids a few cells more."""
    return np.maximum(1.0, np.array(grid) / 16)


def judged(trial: Trial, grid: Sequence[int]) -> dict[str, str]:
    """Correlations, shift and verdict."""
    long = [axis for axis, cells in enumerate(grid) if cells > 1]
    own = {AXES[len(grid)][axis]: trial.correlation(axis, axis) for axis in long}
    swapped = max((trial.correlation(a, b) for a in long for b in long if a != b), key=abs, default=0.0)
    least, near = min(own.values(), default=0.0), bool((np.abs(trial.shift) < limit(grid)).all())
    disorderly = trial.steady >= STEADY and not (near and least >= DISORDERLY)
    verdict = "right" if near and least >= ORDERLY else "WRONG" if disorderly else "unclear"
    numbers = {**own, "swapped": swapped, "shift": np.abs(trial.shift).max(), "steady": trial.steady}
    return {**{key: f"{value:.2f}" for key, value in numbers.items()}, "verdict": verdict}
