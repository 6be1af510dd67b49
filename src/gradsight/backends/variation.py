"""Other weights for a model, to see what of its scores is a matter of its weights, and what of how it is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 2**20
"""Tensors of more numbers stay as they are: the smaller ones, such as biases, tell enough, and cost nothing."""


def varied(values: NDArray[Any], seed: int) -> NDArray[np.float32]:
    """A weight as another training might have left it: other signs, and some noise.

    Biases and their kin, of one axis, get noise that takes a score out of [0, 1] even where everything else is small.
    """
    random = np.random.default_rng([seed, values.size])
    signs = random.choice([-1.0, 1.0], values.shape)
    size = (
        (3.0, 1.0)[seed % 2] if values.ndim < 2 else float(np.sqrt(np.square(values, dtype=np.float64).mean())) + 0.01
    )
    found: NDArray[np.float32] = (values * signs + random.normal(0, size, values.shape)).astype(np.float32)
    return found
