"""What `diagnose=True` says of Keras models whose answer is known, on each engine."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import gradsight as gs
from frameworks import SLOW_ON_JAX
from gradsight.backends.keras.outputs import numpy_of

pytestmark = SLOW_ON_JAX or []


def branched(weight: float) -> Any:
    """A branch beside what goes straight on; brightness counts for class 0."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = L.AveragePooling2D(2)(L.Conv2D(6, 3, padding="same", activation="relu", name="body")(image))
    branch = L.Conv2D(6, 1, name="branch")(x)
    whole = L.Add(name="sum")([x, L.Rescaling(weight)(branch)])
    model = keras.Model(image, L.Dense(4, name="head")(L.GlobalAveragePooling2D()(whole)))
    for name in ("body", "head"):
        kernel = model.get_layer(name).kernel
        values = numpy_of(keras.ops.convert_to_tensor(kernel))
        kernel.assign(np.abs(values) if name == "body" else np.where(np.arange(4) == 0, np.abs(values), values))
    return model


def images() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32) / 4
    drawn[:, 2:7, 2:7] += 2
    return drawn


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, str]]:
    """The notes of a call, by what was asked."""
    model = branched(0.01)
    before = [numpy_of(keras.ops.convert_to_tensor(x)).tobytes() for x in model.weights]
    explainer, found = gs.Explainer(model), {}
    for layer, method in (("branch", "gradcam"), ("sum", "gradcam"), ("sum", "edge")):
        made = explainer(images(), layer=layer, method=method, targets=0, diagnose=True)
        found[f"{layer} {method}"] = {note.code: note.text for note in made.target_notes[0][0]}
    assert [numpy_of(keras.ops.convert_to_tensor(x)).tobytes() for x in model.weights] == before
    return found


def test_a_layer_that_most_of_the_score_bypasses_is_told(told: dict[str, dict[str, str]]) -> None:
    assert re.search(r"only (<1|\d)% of what moves the score", told["branch gradcam"]["side_branch"])
    assert "side_branch" not in told["sum gradcam"]
    assert "100% of what moves the score passes the layer" in told["sum gradcam"]["diagnosed"]
    assert "the gradient there predicts 100% of that" in told["sum gradcam"]["diagnosed"]


def test_a_map_of_edges_survives_random_weights(told: dict[str, dict[str, str]]) -> None:
    assert "correlation 1.00" in told["sum edge"]["survives_random_weights"]


def test_a_map_of_what_is_bright_beats_maps_laid_elsewhere(told: dict[str, dict[str, str]]) -> None:
    assert "hardly_beats_random" not in told["sum gradcam"]
    assert re.search(
        r"checked in at most 30 further passes of the model: it beats 1[6-9] of 19", told["sum gradcam"]["diagnosed"]
    )
