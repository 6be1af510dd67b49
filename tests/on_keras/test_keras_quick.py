"""The quicker ways to TensorFlow's operations give what `keras.ops` gives, bit by bit, and refuse what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from gradsight.backends.keras.ops import OPS, no_gradient, pick

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="quick ways of TensorFlow")

Call = Callable[[Any, Any], Any]
CALLS: list[tuple[Call, Call]] = [
    *((lambda o, x, n=n: getattr(o, n)(x, axis=(2, 3)),) * 2 for n in ("max", "mean", "min", "sum")),
    *((lambda o, x, n=n: getattr(o, n)(x, axis=-1, keepdims=True),) * 2 for n in ("max", "mean", "min", "sum")),
    *((lambda o, x, n=n: getattr(o, n)(x),) * 2 for n in ("max", "mean", "min", "sum")),
    (lambda o, x: o.permute_dims(x, (0, 3, 1, 2)), lambda o, x: o.transpose(x, (0, 3, 1, 2))),
    (lambda o, x: o.moveaxis(x, 0, 1),) * 2,
    (lambda o, x: o.moveaxis(x, -1, 1),) * 2,
    (lambda o, x: o.moveaxis(x, (0, 1), (1, 0)),) * 2,
    (lambda o, x: o.reshape(x, (x.shape[0], -1)),) * 2,
    (lambda o, x: o.matmul(x, o.moveaxis(x, 2, 3)),) * 2,
    (lambda o, x: o.matmul(x[0, 0], x[0, 0, 0]),) * 2,
    (lambda o, x: o.stack([x, x], axis=1),) * 2,
    (lambda o, x: o.stack([x, 0 * x]),) * 2,
]


def outcome(call: Call, by: Any, x: Any) -> Any:
    """What a call gives as NumPy with its type, or the kind of its error."""
    try:
        made = call(by, x)
    except Exception as error:
        return type(error)
    return made.dtype, ops.convert_to_numpy(ops.cast(made, "float64"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_the_quick_way_gives_the_same_bits(dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 4)) * 9
    x = ops.cast(ops.convert_to_tensor(values), dtype)
    for quick, usual in CALLS:
        np.testing.assert_equal(outcome(quick, OPS, x), outcome(usual, ops, x))


def test_of_nothing_there_is_no_maximum() -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="max of an empty tensor"):
        OPS.max(ops.zeros((0, 3)), axis=0)


def test_a_tape_sees_the_quick_way() -> None:
    import tensorflow as tf

    x = tf.constant(np.random.default_rng(0).standard_normal((2, 3, 4), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = OPS.mean(OPS.matmul(OPS.moveaxis(x, 1, 2), x), axis=(1, 2))
    with tf.GradientTape() as plain:
        plain.watch(x)
        z = ops.mean(ops.matmul(ops.moveaxis(x, 1, 2), x), axis=(1, 2))
    np.testing.assert_array_equal(tape.gradient(y, x), plain.gradient(z, x))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_classes_are_picked_row_by_row(dtype: str) -> None:
    logits = np.random.default_rng(0).standard_normal((3, 7)).astype(dtype)
    indices = np.array([[1, 6], [0, 0], [5, 2]])
    with no_gradient():
        picked = pick(ops.convert_to_tensor(logits), indices)
    np.testing.assert_array_equal(picked, np.take_along_axis(logits, indices, 1))
