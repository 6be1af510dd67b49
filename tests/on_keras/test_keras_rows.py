"""Rows of a batch and heads of a model on Keras: what `test_rows` and `test_layers_of_targets` show on PyTorch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import gradsight as gs

ON_JAX = keras.backend.backend() == "jax"
METHODS = ["gradcam", "occlusion(window=0.5, stride=0.5)", "scorecam"]
METHODS += [] if ON_JAX else ["ablationcam", "smooth(gradcam)", "rise(masks=4)", "shapleycam", "fullgrad"]


def images(n: int = 1) -> Any:
    return np.random.default_rng(3).random((n, 12, 12, 3)).astype("float32")


@keras.saving.register_keras_serializable()
class OfTheBatch(layers.Layer):
    """Takes the mean of the batch out."""

    def call(self, x: Any) -> Any:
        return x - 0.5 * ops.mean(x, axis=0, keepdims=True)


@keras.saving.register_keras_serializable()
class Trained(layers.BatchNormalization):
    """Takes its statistics from the batch, whatever it is told."""

    def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
        mean, variance = ops.moments(x, axes=[0, 1, 2], keepdims=True)
        return (x - mean) / ops.sqrt(variance + 1e-3)


def network(mixing: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.Conv2D(4, 3, 2, activation="relu", name="features"),
            mixing(),
            layers.Conv2D(5, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("mixing", [OfTheBatch, Trained])
def test_where_rows_influence_each_other_every_image_is_explained_alone(mixing: Any) -> None:
    model, x = network(mixing), images(2)
    together = gs.Explainer(model, layer="features", targets=1)(x, method=METHODS)
    for i in range(2):
        alone = gs.Explainer(model, layer="features", targets=1, batch_size=1)(x[i : i + 1], method=METHODS)
        for found, right in zip(together, alone, strict=True):
            scale = np.abs(right.maps).max()
            np.testing.assert_allclose(found.maps[i], right.maps[0], atol=1e-5 * scale, err_msg=found.method)
            assert any("influence each other" in note for note in found.notes)


def test_rows_that_leave_each_other_alone_have_no_such_note() -> None:
    found = gs.Explainer(network(layers.BatchNormalization), layer="features", targets=1)(images(2), method=METHODS)
    assert not any("influence each other" in note for explanation in found for note in explanation.notes)


class Scaled(keras.Model):
    """Takes a factor for all images beside them."""

    def __init__(self) -> None:
        super().__init__()
        keras.utils.set_random_seed(0)
        self.features = layers.Conv2D(4, 3, 2, activation="relu", name="features")
        self.pool, self.head = layers.GlobalAveragePooling2D(), layers.Dense(3)

    def call(self, x: Any, factor: Any) -> Any:
        return self.head(self.pool(self.features(x) * ops.reshape(factor, (-1,))[0]))


@pytest.mark.parametrize("n", [1, 2])
def test_a_factor_of_one_number_is_that_number(n: int) -> None:
    model = Scaled()
    model(images(), ops.ones((1,)))
    number, factor = (
        gs.Explainer(model, layer="features", targets=1)((images(n), np.array(value, "float32")), method=METHODS[:3])
        for value in (2.0, [2.0])
    )
    for a, b in zip(number, factor, strict=True):
        np.testing.assert_allclose(a.maps, b.maps, atol=1e-5 * np.abs(a.maps).max(), err_msg=a.method)


def heads() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = layers.Input((12, 12, 3))
    trunk = layers.Conv2D(6, 3, 2, activation="relu", name="trunk")(x)
    deep = layers.Conv2D(5, 3, activation="relu", name="deep")(trunk)
    a = layers.Dense(3, name="a")(layers.GlobalAveragePooling2D()(deep))
    b = layers.Dense(4, name="b")(layers.GlobalAveragePooling2D()(trunk))
    return keras.Model(x, {"b": b, "a": a})


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_head_has_its_own_layer_whichever_was_asked_for_first(order: str) -> None:
    model, x = heads(), images()
    asked = {"a": lambda outputs: outputs["a"][:, 1], "b": lambda outputs: outputs["b"][:, 1]}
    right = {name: gs.Explainer(model)(x, targets=target) for name, target in asked.items()}
    assert {name: found.layer for name, found in right.items()} == {"a": "deep", "b": "trunk"}
    explainer = gs.Explainer(model)
    for name in order:
        found = explainer(x, targets=asked[name])
        assert found.layer == right[name].layer
        np.testing.assert_allclose(found.maps, right[name].maps, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_classes_together_have_the_gradients_of_each_alone_behind_a_root_mean_square(n: int) -> None:
    keras.utils.set_random_seed(0)
    entry = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv")(entry)
    x = layers.GlobalAveragePooling2D()(layers.UnitNormalization()(x))
    explainer = gs.Explainer(keras.Model(entry, layers.Dense(17)(x)), layer="conv")
    batch = np.random.default_rng(0).standard_normal((n, 16, 16, 3), np.float32)
    together = explainer(batch, targets=gs.Classes(*range(17)), method=first_channel).maps
    alone = np.concatenate([explainer(batch, targets=j, method=first_channel).maps for j in range(17)], axis=1)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def first_channel(probe: Any, _ops: Any) -> Any:
    return probe.gradients[:, :, 0]
