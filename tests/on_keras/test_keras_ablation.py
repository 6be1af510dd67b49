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


def ended(end: Callable[[Any], Any]) -> Any:
    """A layer of 4 channels behind which something else comes than a convolution."""
    entry = keras.Input((12, 8, 3))
    return keras.Model(entry, L.Dense(5)(end(L.Conv2D(4, 3, activation="tanh", name="layer")(entry))))


def pooled() -> Any:
    return ended(lambda x: L.GlobalAveragePooling2D()(L.Activation("sigmoid")(x)))


def pooled_in_two_steps() -> Any:
    return ended(lambda x: keras.ops.max(keras.ops.mean(x, axis=1, keepdims=True), axis=(1, 2)))


def pooled_in_two_ways() -> Any:
    return ended(lambda x: L.Concatenate()([L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x)]))


def summed_over_channels() -> Any:
    return ended(lambda x: L.Flatten()(keras.ops.sum(x, axis=-1)))


def channels_first_at_the_end() -> Any:
    return ended(lambda x: keras.ops.mean(keras.ops.transpose(x, (0, 3, 1, 2)), axis=(2, 3)))


def beside_other_images() -> Any:
    return ended(lambda x: (lambda y: y - keras.ops.mean(y, axis=0, keepdims=True))(L.GlobalAveragePooling2D()(x)))


def tokens_pooled() -> Any:
    entry = keras.Input((12, 8, 3))
    x = ClassToken()(L.Reshape((6, 4))(L.Conv2D(4, 4, strides=4)(entry)))
    x = L.Dense(4, activation="tanh", name="layer")(x)
    return keras.Model(entry, L.Dense(5)(keras.ops.mean(keras.ops.relu(x), axis=1)))


MADE = [bypassed, tokens, pooled, pooled_in_two_steps, pooled_in_two_ways, summed_over_channels]
MADE += [channels_first_at_the_end, tokens_pooled]


@pytest.mark.parametrize("make", [cut, *(pytest.param(make, marks=SLOW_ON_JAX) for make in MADE)])
def test_without_channels_is_the_tail_of_activations_that_are_0_there(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(3)
    backend = KerasBackend(make())
    grid = (3, 2) if make in (tokens, tokens_pooled) else None
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


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts what TensorFlow computes at once")
@pytest.mark.parametrize(
    ("make", "calls"),
    # Of 60 positions a mean holds the 60th part: all rounds at once. Behind it 5 classes are more than 4 channels.
    [(pooled, 1), (pooled_in_two_steps, 1), (tokens_pooled, 1)]
    # What comes first there is not known to leave channels apart, or what is behind to leave rows apart.
    + [(make, 4) for make in (cut, pooled_in_two_ways, summed_over_channels, channels_first_at_the_end)]
    + [(beside_other_images, 4)],
)
def test_behind_a_pool_rounds_go_together_that_take_no_more_memory(
    make: Callable[[], Any], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradsight.backends.keras.engines.traced_tail import TracedTail

    rows: list[int] = []
    ablated = TracedTail.ablated
    monkeypatch.setattr(
        TracedTail, "ablated", lambda tail, ablation: rows.append(len(ablation.groups)) or ablated(tail, ablation)
    )
    backend = KerasBackend(make())
    layer = Layer("layer", "tokens", (3, 2)) if make is tokens_pooled else Layer("layer")
    inputs = backend.prepare(np.ones((2, 12, 8, 3), np.float32))
    done = backend.run(inputs, [layer], lambda logits, _: resolve([[0], [0]], OutputContext(2, logits)), 2)
    done.probes[0].without_channels(np.arange(4)[:, None])
    assert rows == [4 // calls] * calls


@pytest.mark.skipif(ENGINE != "tensorflow", reason="looks at TensorFlow's graphs")
def test_channels_go_a_way_of_their_own_up_to_the_first_result() -> None:
    import tensorflow as tf

    from gradsight.backends.keras.engines.channels_apart import Point, last_apart, size_behind

    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 4, 6, 3))
        y = tf.reduce_mean(x, axis=(1, 2))
        z = tf.sigmoid(y)
        other = tf.reduce_sum(y, axis=0)
        assert last_apart(Point(x, 3), [z]) == Point(z, 1)
        assert last_apart(Point(x, 3), [z, y]) == Point(y, 1)
        assert last_apart(Point(x, 3), [z, other]) == Point(y, 1)
        assert last_apart(Point(x, 2), [z]) == Point(x, 2)
        assert size_behind(Point(y, 1), [tf.matmul(z, tf.ones((3, 7)))]) == 7
        assert size_behind(Point(y, 1), [other]) is None
        assert size_behind(Point(y, 1), [tf.cumsum(y)]) is None
