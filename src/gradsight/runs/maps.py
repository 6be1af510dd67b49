"""Maps as a run keeps them: float16, divided by their largest magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def packed(values: NDArray[np.floating]) -> tuple[bytes, float]:
    """A map as bytes, and what they are multiplied by: ``map = float16 * scale``.

    Each value is kept to 2^-11 of itself, or to 3e-8 of the map's largest where it is smaller than 6e-5 of that. NaN
    and infinite values stay what they are.

    >>> packed(np.array([[0.5, 2.0]], np.float32))[1]
    2.0
    """
    return all_packed(np.asarray(values)[None])[0]


def all_packed(maps: NDArray[np.floating]) -> list[tuple[bytes, float]]:
    """Maps (m, *s), each as `packed` has it."""
    wide = np.asarray(maps, np.float64).reshape(len(maps), -1)
    magnitudes = np.abs(wide)
    highest = magnitudes.max(axis=1, initial=0.0)
    if not np.isfinite(highest).all():
        highest = np.where(np.isfinite(magnitudes), magnitudes, 0).max(axis=1)
    # 1 where nothing is there to divide by: infinity times 0 would be NaN.
    single = highest.astype(np.float32)
    scales = np.where(single > 0, single, np.float32(1)).astype(np.float64)
    halves = (wide / scales[:, None]).astype("<f2")
    return list(zip((half.tobytes() for half in halves), scales.tolist(), strict=True))


def unpacked(content: bytes, scale: float, shape: Sequence[int]) -> NDArray[np.float32]:
    """The map of `packed`.

    Raises:
        ValueError: there are not as many values as the shape says.
    """
    return np.frombuffer(content, "<f2").astype(np.float32).reshape(tuple(shape)) * np.float32(scale)
