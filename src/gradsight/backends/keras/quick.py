"""What methods ask for most, of TensorFlow's tensors as they are computed, by TensorFlow's own operations.

Keras and the public functions of TensorFlow look at each argument in many ways before the same operation runs. Around a
small model that takes longer than the operations, and as long as a third of its pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from gradsight.foreign import Array

_EAGER = tf.__internal__.EagerTensor
_FLOATS = (tf.float32, tf.float64)
_raw = tf.raw_ops

Axes = int | Sequence[int] | None


def _is_quick(value: object) -> bool:
    """Whether the operation itself does what `keras.ops` does with it."""
    # Halves are summed more widely by Keras, whole numbers get another type, symbols of a graph have open shapes.
    return type(value) is _EAGER and value.dtype in _FLOATS  # type: ignore[attr-defined]


def _numbers(axes: int | Sequence[int]) -> NDArray[np.int32]:
    return np.asarray(axes, np.int32)  # a tensor is made of it in half the time that a tuple takes


def _reduced(operation: Callable[..., Array], usual: Callable[..., Array]) -> Callable[..., Array]:
    def reduce(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        # Of nothing Keras says in words that there is no maximum.
        if axis is None or not _is_quick(x) or 0 in x.shape:
            return usual(x, axis=axis, keepdims=keepdims)
        return operation(input=x, axis=_numbers(axis), keep_dims=keepdims)

    return reduce


def _reshape(x: Array, newshape: Sequence[int]) -> Array:
    return _raw.Reshape(tensor=x, shape=_numbers(newshape)) if _is_quick(x) else ops.reshape(x, newshape)


def _permute_dims(x: Array, axes: Sequence[int]) -> Array:
    return _raw.Transpose(x=x, perm=_numbers(axes)) if _is_quick(x) else ops.transpose(x, axes)


def _moveaxis(x: Array, source: int, destination: int) -> Array:
    if not _is_quick(x) or not isinstance(source, int) or not isinstance(destination, int):
        return ops.moveaxis(x, source, destination)
    order = [axis for axis in range(x.ndim) if axis != source % x.ndim]
    order.insert(destination % x.ndim, source % x.ndim)
    return _permute_dims(x, order)


def _matmul(x1: Array, x2: Array) -> Array:
    # Matrices alone have a way of their own, and of other ranks the shapes are made to fit first.
    if _is_quick(x1) and _is_quick(x2) and x1.dtype == x2.dtype and x1.ndim == x2.ndim > 2:
        return _raw.BatchMatMulV2(x=x1, y=x2)
    return ops.matmul(x1, x2)


def _stack(x: Sequence[Array], axis: int = 0) -> Array:
    if all(map(_is_quick, x)) and len({value.dtype for value in x}) == 1:
        return _raw.Pack(values=list(x), axis=axis)
    return ops.stack(x, axis=axis)


QUICK: Mapping[str, Callable[..., Array]] = {
    "matmul": _matmul,
    "max": _reduced(_raw.Max, ops.max),
    "mean": _reduced(_raw.Mean, ops.mean),
    "min": _reduced(_raw.Min, ops.min),
    "moveaxis": _moveaxis,
    "permute_dims": _permute_dims,
    "reshape": _reshape,
    "stack": _stack,
    "sum": _reduced(_raw.Sum, ops.sum),
}
"""By the names of the Array API standard."""


def pick(logits: Array, indices: NDArray[np.integer]) -> Array:
    """Some classes of each row, where nothing is differentiated: (m, classes), (m, k) -> (m, k)."""
    if _is_quick(logits):
        return _raw.GatherV2(params=logits, indices=np.asarray(indices), axis=1, batch_dims=1)
    return tf.gather(logits, np.asarray(indices), axis=1, batch_dims=1)
