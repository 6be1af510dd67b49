"""Every method once more: the paper's formula, slow and plain, in NumPy float64 over loops.

A row takes (n, c, *s) activations and (n, k, c, *s) gradients and gives (n, k, *s) maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ORACLES: dict[str, Callable[[Any, Any], Any]] = {}


def oracle(name: str) -> Callable[[Any], Any]:
    def enter(function: Any) -> Any:
        ORACLES[name] = function
        return function

    return enter


@oracle("gradcam")
def gradcam(activations: Any, gradients: Any) -> Any:
    n, k, channels = gradients.shape[:3]
    maps = np.zeros((n, k, *activations.shape[2:]))
    for i in range(n):
        for j in range(k):
            for c in range(channels):
                alpha = sum(gradients[i, j, c].ravel()) / gradients[i, j, c].size  # eq. 1
                maps[i, j] += alpha * activations[i, c]  # eq. 2, before its ReLU
    return maps
