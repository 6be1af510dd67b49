"""The way back through a TensorFlow graph, in one call for all targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import tensorflow as tf

from gradsight.backends.keras.outputs import numpy_of
from gradsight.backends.rounding import is_close
from gradsight.foreign import Array
from gradsight.locks import Lock

Rows: TypeAlias = list[Array]
"""Cotangents (k, ...) of each floating-point output, or gradients (k, ...) of each leaf."""

Back: TypeAlias = Callable[[Rows, Sequence[Array]], Sequence[Array]]
"""Cotangents of one target, and what else is needed, to gradients."""

_ROWS = 32
"""So many images go back at once, counted for each target: all targets of a call could be a thousand."""

_UNITS = {tf.bfloat16: 2.0**-7, tf.float16: 2.0**-10, tf.float32: 2.0**-23, tf.float64: 2.0**-52}
"""Of rounding, in each precision that has gradients."""


class WayBack:
    """Cotangents of k targets to gradients, (k, ...) each. Threads may share it.

    One target goes back by the graph as it is, several by one that `tf.vectorized_map` makes of it: its products read
    the weights once for all. That it gives what one by one gives is seen when it is first used.
    """

    def __init__(self, back: Back, cotangents: Sequence[Array], needed: Sequence[Array]) -> None:
        """Nothing is traced.

        Args:
            back: makes the way back of one target in the current graph.
            cotangents: of one target, as symbols.
            needed: what else ``back`` takes, as symbols.
        """
        self._back, self._tracing = back, Lock()
        self._specs = (
            [tf.TensorSpec((None, *x.shape), x.dtype) for x in cotangents],
            [tf.TensorSpec(x.shape, x.dtype) for x in needed],
        )
        self._one: Callable[..., Sequence[Array]] | None = None
        self._several: Callable[..., Sequence[Array]] | None = None
        self._is_seen = False

    def __call__(self, cotangents: Rows, needed: Sequence[Array]) -> Rows:
        """Gradients of all targets, of which there is at least one."""
        parts = [self._of_some([c[i:j] for c in cotangents], needed) for i, j in _rounds(cotangents)]
        return list(parts[0]) if len(parts) == 1 else [tf.concat(some, axis=0) for some in zip(*parts, strict=True)]

    def _of_some(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        if len(cotangents[0]) == 1:
            return self._singly(cotangents, needed)
        with self._tracing:
            if not self._is_seen:
                self._several = self._believed(cotangents, needed)
                self._is_seen = True
        return self._one_by_one(cotangents, needed) if self._several is None else self._several(*cotangents, *needed)

    def _singly(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        with self._tracing:
            if self._one is None:
                self._one = self._traced(lambda rows, rest: [x[None] for x in self._back([c[0] for c in rows], rest)])
        return self._one(*cotangents, *needed)

    def _one_by_one(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        rows = [self._singly([c[j : j + 1] for c in cotangents], needed) for j in range(len(cotangents[0]))]
        return [tf.concat(parts, axis=0) for parts in zip(*rows, strict=True)]

    def _believed(self, cotangents: Rows, needed: Sequence[Array]) -> Callable[..., Sequence[Array]] | None:
        """The graph of several targets, which gives what one by one gives; None where there is none."""
        try:
            several = self._traced(lambda rows, rest: _mapped(self._back, rows, rest))
            ours = several(*cotangents, *needed)
        except Exception:  # some operations, such as loops of a kind, cannot be mapped: it tells at either step
            return None
        expected = self._one_by_one(cotangents, needed)
        pairs = ((numpy_of(a), numpy_of(b)) for a, b in zip(ours, expected, strict=True))
        unit = max(_UNITS[x.dtype] for x in expected)
        return several if all(is_close(a, b, unit) for a, b in pairs) else None

    def _traced(self, function: Callable[[Rows, Rows], Sequence[Array]]) -> Callable[..., Sequence[Array]]:
        count = len(self._specs[0])
        graph: Callable[..., Sequence[Array]] = tf.compat.v1.wrap_function(
            lambda *values: list(function(list(values[:count]), list(values[count:]))),
            [*self._specs[0], *self._specs[1]],
        )
        return graph


def _mapped(back: Back, cotangents: Rows, needed: Rows) -> Sequence[Array]:
    gradients: Sequence[Array] = tf.vectorized_map(
        lambda rows: list(back(rows, needed)), cotangents, fallback_to_while_loop=False
    )
    return gradients


def _rounds(cotangents: Rows) -> Iterator[tuple[int, int]]:
    """The targets that go back at once."""
    k, *shape = cotangents[0].shape
    step = max(1, _ROWS // max(1, shape[0])) if shape else k
    return ((i, min(i + step, k)) for i in range(0, k, step))
