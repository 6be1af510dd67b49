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
    wide = np.asarray(values, np.float64)
    magnitudes = np.abs(wide[np.isfinite(wide)])
    # 1 where nothing is there to divide by: infinity times 0 would be NaN.
    scale = float(np.float32(magnitudes.max(initial=0.0))) or 1.0
    return (wide / scale).astype("<f2").tobytes(), scale


def unpacked(content: bytes, scale: float, shape: Sequence[int]) -> NDArray[np.float32]:
    """The map of `packed`.

    Raises:
        ValueError: there are not as many values as the shape says.
    """
    return np.frombuffer(content, "<f2").astype(np.float32).reshape(tuple(shape)) * np.float32(scale)
