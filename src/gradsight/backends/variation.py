"""Other weights for a model, to see what of its scores is a matter of its weights, and what of how it is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 2**20
"""Tensors of more numbers stay as they are: the smaller ones, such as biases, tell enough, and cost nothing."""

_NOISE = (3.0, 1.0, 1e2, 1e4)
"""Of biases, whose size should be enough for any end, and not too much for any depth."""


def varied(values: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
    """A weight as another training might have left it: other signs, and some noise.

    Biases and their kin, of one axis, get noise that takes a score out of [0, 1] even where everything else is small.
    """
    random = np.random.default_rng([seed, values.size])
    signs = random.choice([-1.0, 1.0], values.shape)
    own = float(np.sqrt(np.square(values, dtype=np.float64).mean()))
    noise = random.normal(0, _NOISE[seed % len(_NOISE)] if values.ndim < 2 else own + 0.01, values.shape)
    found: NDArray[np.float32] = np.asarray(values * signs + noise, np.float32)
    return found
