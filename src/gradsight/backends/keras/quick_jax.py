"""What methods ask for of JAX's arrays as they are computed, by NumPy: JAX compiles each operation for each shape."""

from __future__ import annotations

import jax
import numpy as np
from numpy.typing import NDArray

from gradsight.foreign import Array


def is_quick(value: Array) -> bool:
    """Whether an array has its numbers, all on one device."""
    return not isinstance(value, jax.core.Tracer) and len(value.devices()) == 1


def pick(logits: Array, indices: NDArray[np.integer]) -> Array:
    """Some classes of each row, where nothing is differentiated: (m, classes), (m, k) -> (m, k)."""
    return jax.device_put(np.take_along_axis(np.asarray(logits), np.asarray(indices), axis=1), logits.sharding)
