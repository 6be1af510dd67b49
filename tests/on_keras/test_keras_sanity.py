"""Keras models with other weights, which stay as they are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from cases_of import case_as_asked
from gradsight.backends.keras.outputs import numpy_of
from gradsight.backends.randomising import randomised
from gradsight.metric_registry import METRICS


def network() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((12, 10, 3)),
            keras.layers.Conv2D(6, 3, padding="same", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Activation("relu", name="after"),
            keras.layers.Conv2D(5, 3, activation="tanh", name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax", name="head"),
        ]
    )
    numbers = np.random.default_rng(0)
    for weight in model.weights:  # biases that are not all 0
        if len(weight.shape) == 1:
            weight.assign(numbers.uniform(0.5, 1.5, weight.shape))
    return model


def held(weight: Any) -> Any:
    return numpy_of(keras.ops.convert_to_tensor(weight))


def forgotten(model: Any, layers: tuple[str, ...]) -> Any:
    """Another model with the weights that some layers are said to get."""
    other = network()
    for layer in layers:
        for number, weight in enumerate(other.get_layer(layer).trainable_variables):
            weight.assign(randomised(held(weight), 0, f"{layer}/{number}"))
    return other


def case(model: Any, method: str = "gradcam") -> Any:
    batch = np.random.default_rng(1).normal(size=(2, 12, 10, 3)).astype(np.float32)
    return case_as_asked(model, batch, method, targets=[0, 3], layer="after")


@pytest.mark.parametrize("layers", [("head",), ("second", "head"), ("first", "norm", "second", "head")])
def test_a_view_with_other_weights_gives_what_a_model_with_them_gives(layers: tuple[str, ...]) -> None:
    model = network()
    before = [held(weight).tobytes() for weight in model.weights]
    one = case(model)
    assert one.probe.weighted == (("first",), ("norm",), ("second",), ("head",))
    other, expected = one.probe.randomised(layers, 0), case(forgotten(model, layers))
    numpy = one.scoring.numpy
    np.testing.assert_allclose(numpy(other.scores), expected.scoring.unchanged(), atol=1e-5)
    assert not np.allclose(numpy(other.scores), numpy(one.probe.scores), atol=1e-2)
    np.testing.assert_allclose(one.explain(other), expected.maps, atol=1e-5)
    assert [held(weight).tobytes() for weight in model.weights] == before
    np.testing.assert_array_equal(case(model).maps, one.maps)


@pytest.mark.parametrize("name", ["randomisation", "independentrandomisation"])
def test_a_method_that_does_not_look_at_the_model_stays(name: str) -> None:
    assert METRICS[name](case(network(), "edge")) == pytest.approx(1)
    assert METRICS[name](case(network())).max() < 0.9
