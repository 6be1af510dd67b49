"""Channels of a layer switched off in the graph of its tail, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

from frameworks import SLOW_ON_JAX
from gradsight.backends.keras import KerasBackend
from gradsight.backends.keras.outputs import numpy_of
from gradsight.layers import Layer
from gradsight.targets import OutputContext, resolve

ENGINE = keras.backend.backend()
CLASSES = [[0, 3], [4, 1]]


def cut() -> Any:
    entry = keras.Input((12, 8, 3))
    x = L.ReLU(name="layer")(L.Conv2D(4, 3)(entry))
    return keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(L.Conv2D(6, 3, activation="tanh")(x))))


def bypassed() -> Any:
    entry = keras.Input((12, 8, 3))
    x = L.Conv2D(4, 3, activation="tanh")(entry)
    y = L.Add()([x, L.Conv2D(4, 1, name="layer")(x)])
    return keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(L.ReLU()(y))))


class ClassToken(L.Layer):
    """Puts a token before the others."""

    def call(self, x: Any) -> Any:
        return keras.ops.concatenate([keras.ops.mean(x, axis=1, keepdims=True), x], axis=1)


def tokens() -> Any:
    entry = keras.Input((12, 8, 3))
    x = ClassToken()(L.Reshape((6, 4))(L.Conv2D(4, 4, strides=4)(entry)))
    x = L.Dense(4, activation="tanh", name="layer")(x)
    x = L.Add()([x, L.MultiHeadAttention(2, 2)(x, x)])
    return keras.Model(entry, L.Dense(5)(L.Lambda(lambda x: x[:, 0])(x)))


@pytest.mark.parametrize(
    "make", [cut, pytest.param(bypassed, marks=SLOW_ON_JAX), pytest.param(tokens, marks=SLOW_ON_JAX)]
)
def test_without_channels_is_the_tail_of_activations_that_are_0_there(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(3)
    backend = KerasBackend(make())
    grid = (3, 2) if make is tokens else None
    layer = Layer("layer", "tokens" if grid else None, grid)
    inputs = backend.prepare(np.random.default_rng(0).standard_normal((2, 12, 8, 3)).astype(np.float32))
    done = backend.run(inputs, [layer], lambda logits, _: resolve(CLASSES, OutputContext(2, logits)), 5)
    (probe,) = done.probes
    whole = numpy_of(probe.activations)
    groups = np.array([[0, 1], [2, 2], [1, 0]])  # of two images five rows are two groups, then one
    expected = []
    for group in groups:
        left = whole.copy()
        left[:, group] = 0
        expected.append(numpy_of(probe.tail(keras.ops.convert_to_tensor(left))))
    np.testing.assert_allclose(numpy_of(probe.without_channels(groups)), np.concatenate(expected), atol=1e-6, rtol=1e-5)
    assert np.abs(expected[0] - numpy_of(probe.scores)).max() > 1e-3


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts what TensorFlow is given")
def test_a_round_gives_the_graph_a_mask_and_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    given: list[int] = []
    convert = tf.constant
    monkeypatch.setattr(
        tf, "constant", lambda x, *more, **named: given.append(np.size(x)) or convert(x, *more, **named)
    )
    backend = KerasBackend(cut())
    inputs = backend.prepare(np.ones((1, 12, 8, 3), np.float32))
    done = backend.run(inputs, [Layer("layer")], lambda logits, _: resolve([[0]], OutputContext(1, logits)), 4)
    probe = done.probes[0]
    probe.without_channels(np.arange(4)[:, None])
    given.clear()
    probe.without_channels(np.arange(4)[:, None])
    assert max(given) == 4 * 4
