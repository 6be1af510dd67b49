"""The way back through a TensorFlow graph, in one call for all targets."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import tensorflow as tf

from gradsight.backends.keras.outputs import numpy_of
from gradsight.backends.rounding import is_close
from gradsight.foreign import Array
from gradsight.locks import Lock
from gradsight.recent import Recent

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

    One target goes back by the graph as it is, several as further rows, or by a graph that `tf.vectorized_map` makes:
    products read the weights once for all. That either gives what one by one gives is seen when it is first used
    for a number of images.
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
        # By the number of images.
        self._several: Recent[int, Callable[..., Sequence[Array]] | None] = Recent()

    def __call__(self, cotangents: Rows, needed: Sequence[Array]) -> Rows:
        """Gradients of all targets, of which there is at least one."""
        rounds = list(_rounds(cotangents))
        if len(rounds) == 1:  # mostly: a slice of all would be an operation of its own
            return list(self._of_some(cotangents, needed))
        parts = [self._of_some([c[i:j] for c in cotangents], needed) for i, j in rounds]
        return [tf.concat(some, axis=0) for some in zip(*parts, strict=True)]

    def _of_some(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        if len(cotangents[0]) == 1:
            return self._singly(cotangents, needed)
        n = int(cotangents[0].shape[1]) if cotangents[0].shape.rank > 1 else 1
        with self._tracing:
            several = self._several.of(n, lambda: self._believed(cotangents, needed))
        return self._one_by_one(cotangents, needed) if several is None else several(*cotangents, *needed)

    def _singly(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        with self._tracing:
            if self._one is None:
                self._one = self._traced(lambda rows, rest: [x[None] for x in self._back([c[0] for c in rows], rest)])
        return self._one(*cotangents, *needed)

    def _one_by_one(self, cotangents: Rows, needed: Sequence[Array]) -> Sequence[Array]:
        rows = [self._singly([c[j : j + 1] for c in cotangents], needed) for j in range(len(cotangents[0]))]
        return [tf.concat(parts, axis=0) for parts in zip(*rows, strict=True)]

    def _believed(self, cotangents: Rows, needed: Sequence[Array]) -> Callable[..., Sequence[Array]] | None:
        """The first graph of several targets that gives what one by one gives; None where none does."""
        expected = self._one_by_one(cotangents, needed)
        for together in (_as_rows, _mapped):
            # It cannot be traced, or run: rows may be of a fixed number, and some operations cannot be mapped.
            with contextlib.suppress(Exception), _quiet():
                several = self._traced(partial(together, self._back))
                if _agree(several(*cotangents, *needed), expected):
                    return several
        return None

    def _traced(self, function: Callable[[Rows, Rows], Sequence[Array]]) -> Callable[..., Sequence[Array]]:
        count = len(self._specs[0])
        graph: Callable[..., Sequence[Array]] = tf.compat.v1.wrap_function(
            lambda *values: list(function(list(values[:count]), list(values[count:]))),
            [*self._specs[0], *self._specs[1]],
        )
        return graph


def _as_rows(back: Back, cotangents: Rows, needed: Rows) -> Sequence[Array]:
    """Each target as further rows of the batch; row j belongs to image j % n."""
    k, n = tf.unstack(tf.shape(cotangents[0])[:2])
    flat = [tf.reshape(c, tf.concat([[-1], tf.shape(c)[2:]], axis=0)) for c in cotangents]
    for values, c in zip(flat, cotangents, strict=True):
        values.set_shape((None, *c.shape[2:]))
    # What counts images is known by its open number of rows; the rest is the same for all of them.
    more = [_tiled(x, k) if x.shape.rank and x.shape[0] is None else _counted(x, n, k) for x in needed]
    return [tf.reshape(g, tf.concat([[k, -1], tf.shape(g)[1:]], axis=0)) for g in back(flat, more)]


def _tiled(values: Array, times: Array) -> Array:
    rank = values.shape.rank
    return tf.ensure_shape(tf.tile(values, tf.concat([[times], tf.ones(rank - 1, tf.int32)], axis=0)), values.shape)


def _counted(values: Array, n: Array, times: Array) -> Array:
    """A number that seems to count rows, such as the first of a shape, for as many more; what else is as it was.

    Another may be as large by chance: what is made by it is looked at for each n.
    """
    if not values.dtype.is_integer or values.shape.rank not in (0, 1):
        return values
    n, times = tf.cast(n, values.dtype), tf.cast(times, values.dtype)
    many = tf.where(values == n, values * times, values)
    return many if values.shape.rank == 0 else tf.concat([many[:1], values[1:]], axis=0)


def _mapped(back: Back, cotangents: Rows, needed: Rows) -> Sequence[Array]:
    """Each operation made one of all targets, by TensorFlow."""
    gradients: Sequence[Array] = tf.vectorized_map(
        lambda rows: list(back(rows, needed)), cotangents, fallback_to_while_loop=False
    )
    return gradients


def _agree(ours: Sequence[Array], expected: Sequence[Array]) -> bool:
    unit = max(_UNITS[x.dtype] for x in expected)
    return all(is_close(numpy_of(a), numpy_of(b), unit) for a, b in zip(ours, expected, strict=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it TensorFlow logs nothing for this thread: that it cannot map an operation is no news to the user."""
    me, logger = threading.get_ident(), tf.get_logger()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != me

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)


def _rounds(cotangents: Rows) -> Iterator[tuple[int, int]]:
    """The targets that go back at once."""
    k, *shape = cotangents[0].shape
    step = max(1, _ROWS // max(1, shape[0])) if shape else k
    return ((i, min(i + step, k)) for i in range(0, k, step))
