"""The activations of a layer, averaged where a map is hot: what a model saw there, as numbers that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import positive
from gradsight.contracts import Floats, Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import Method
from gradsight.results.explanation import Explanation

_HOT = 0.5
"""Of a map's maximum, as in `imaging.region`."""

Pooled = Sequence[NDArray[np.float16] | None]
"""Of each explanation the features (n, k, channels), or None where it has none; empty where none are kept."""

_Key = tuple[str, tuple[str, ...]]
"""A method and its layers."""


class Features:
    """What methods see where their maps are hot, noted while they run. Of one thread.

    Args:
        methods: which run.
        numpy: copies an array of the framework's to NumPy.
    """

    def __init__(self, methods: Sequence[Method], numpy: Callable[[Array], Floats]) -> None:
        self._numpy = numpy
        self._noted: dict[_Key, list[NDArray[np.float16]]] = {}
        self.methods = [self._noting(method) if method.at == "layer" else method for method in methods]

    def __enter__(self) -> Self:
        self._noted.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Also after a pass that failed: what was noted of it is nobody's.
        self._noted.clear()

    def taken(self, explanations: Sequence[Explanation]) -> Pooled:
        """Those of explanations that were just made; None of a map that is of no one layer."""
        # A batch whose images influence each other is explained one by one, and noted so.
        noted = {key: np.concatenate(parts) for key, parts in self._noted.items()}
        found = (noted.get((explanation.method, explanation.layers)) for explanation in explanations)
        return [
            features if features is not None and len(features) == len(explanation.maps) else None
            for features, explanation in zip(found, explanations, strict=True)
        ]

    def _noting(self, method: Method) -> Method:
        def function(probe: Probe, ops: Ops) -> Array:
            maps = method.function(probe, ops)
            if tuple(maps.shape[2:]) == tuple(probe.activations.shape[2:]):
                pooled = self._numpy(_pooled(ops.asarray(maps), probe.activations, ops))
                self._noted.setdefault((method.name, (probe.name,)), []).append(pooled.astype(np.float16))
            return maps

        return replace(method, function=function)


def _pooled(maps: Array, activations: Array, ops: Ops) -> Array:
    """(n, k, *s) and (n, c, *s) -> (n, k, c): the mean of each channel over the hot positions of each map."""
    (n, k), c = maps.shape[:2], activations.shape[1]
    heat = ops.reshape(positive(maps, ops), (n, k, -1))
    hot = ops.astype((heat > 0) & (heat >= _HOT * ops.max(heat, axis=2, keepdims=True)), activations.dtype)
    # Where nothing is hot the sum is 0, and so is what is divided by 1.
    count = ops.maximum(ops.sum(hot, axis=2, keepdims=True), ops.ones_like(hot[:, :, :1]))
    return ops.matmul(hot / count, ops.matrix_transpose(ops.reshape(activations, (n, c, -1))))
