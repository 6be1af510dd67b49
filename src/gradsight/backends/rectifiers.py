"""What a rectifier is, whatever framework computes it: told by a trial of the function on numbers.

Guided backpropagation (arXiv:1412.6806) and deconvnet (arXiv:1311.2901) change what goes back through ReLU, which lets
positive signals pass and holds negative ones back. What does so too is a rectifier: a function of each number alone
that rises more from 0 to a large number than from the opposite number to 0, and does not run away. ReLU with any
threshold, slope or ceiling, ELU, GELU, SiLU, Mish and softplus do; tanh, sigmoid, hard-tanh, soft and hard shrinking
treat both signs alike, and log-sigmoid holds positive signals back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

RULES = ("guided", "deconvnet")

NONE_RAN = (
    "the model ran no rectifier (ReLU, GELU, SiLU ...) that is known, so guided backpropagation and deconvnet would be "
    "plain gradients under another name. Use the method 'gradient'."
)

_NUMBERS = np.array([-64, -32, -8, -1, 0, 1, 8, 32, 64], np.float32)
_BESIDE = np.array([100, -100, 3, -0.5, 0.25, 7, -20, 50, 0], np.float32)
TRIAL = np.stack([np.concatenate([_NUMBERS, _BESIDE]), np.concatenate([_NUMBERS, np.zeros_like(_BESIDE)])])
"""The numbers of a trial, twice: with others beside them that a function of each number alone does not see."""


def rectifies(values: ArrayLike) -> bool:
    """Whether a function is a rectifier, by what it gives for each row of `TRIAL`."""
    values = np.asarray(values, np.float64)
    if values.shape != TRIAL.shape or not np.isfinite(values).all():
        return False
    one, other = values[:, : len(_NUMBERS)]
    if not np.allclose(one, other, rtol=1e-5, atol=1e-6):
        return False
    low, zero, half, high = (one[np.flatnonzero(x == _NUMBERS)[0]] for x in (-64, 0, 32, 64))
    rise, fall = high - zero, abs(zero - low)
    return bool(rise > 1.001 * fall and rise <= 8 * (half - zero))


def tried(function: Callable[[NDArray[np.float32]], ArrayLike | None]) -> bool:
    """Whether a function of arrays is a rectifier; one that fails on the numbers is none."""
    try:
        return rectifies(np.array([function(row) for row in TRIAL], np.float64))
    except Exception:  # it may be anything, and want other shapes
        return False
