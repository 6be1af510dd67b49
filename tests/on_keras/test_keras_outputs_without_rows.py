"""Keras models that give no row of class scores: segmentations and detectors passed as they are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import gradsight as gs
from gradsight.errors import InvalidArgument

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NOTE = "a class was taken as its mean over the picture"
LABELS = ["ground", "road", "car", "tree"]
IMAGES = np.random.default_rng(0).random((2, 16, 24, 3), dtype=np.float32)


def numpy_of(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def segmentation(channels: int, end: str | None = None) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 24, 3))
    features = L.Conv2D(8, 3, 2, padding="same", activation="tanh", name="body")(inputs)
    return keras.Model(inputs, L.Conv2D(channels, 1, activation=end, name="head")(features))


@pytest.mark.parametrize("end", [None, "softmax"])
def test_a_class_of_a_segmentation_is_its_mean_over_the_picture(end: str | None) -> None:
    model, plain = segmentation(4, end), segmentation(4)
    means = numpy_of(plain(IMAGES)).mean((1, 2))
    explainer = gs.Explainer(model, labels=LABELS, layer="body")
    found = explainer(IMAGES, targets="car")
    np.testing.assert_allclose(found.scores[:, 0], means[:, 2], atol=1e-5)
    pixels = explainer(IMAGES, targets=gs.Pixels("car"))
    np.testing.assert_allclose(found.maps, pixels.maps, atol=1e-5 * np.abs(found.maps).max())
    assert NOTE in " ".join(map(str, found.target_notes[0][0]))
    assert NOTE not in " ".join(map(str, pixels.target_notes[0][0]))
    assert [row[0].index for row in explainer(IMAGES).targets] == means.argmax(1).tolist()
    with pytest.raises(InvalidArgument, match="3 labels for 4 scores"):
        gs.Explainer(model, labels=LABELS[:3], layer="body")(IMAGES, targets=0)


@pytest.mark.not_on_jax
def test_of_one_channel_with_two_labels_the_first_class_is_its_negation() -> None:
    model = segmentation(1)
    mean = numpy_of(model(IMAGES)).mean((1, 2, 3))
    found = gs.Explainer(model, labels=["sound", "ill"], layer="body")(IMAGES, targets=gs.Classes(0, 1))
    np.testing.assert_allclose(found.scores, np.stack([-mean, mean], 1), atol=1e-5)
    np.testing.assert_allclose(found.maps[:, 0], -found.maps[:, 1], atol=1e-6)


@pytest.mark.parametrize("chosen", [False, True])
def test_of_a_detector_the_best_prediction_is_explained_by_its_logit(chosen: bool) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 24, 3))
    features = L.Conv2D(8, 4, 4, activation="tanh", name="body")(inputs)
    logits = L.Reshape((24, 4))(L.Conv2D(4, 1)(features))
    shifts = L.Reshape((24, 4))(L.Conv2D(4, 1, activation="sigmoid")(features))

    class Table(L.Layer):
        def call(self, shifts: Any, logits: Any) -> Any:
            rows, columns = np.divmod(np.arange(24, dtype=np.float32), 6)
            cells = np.stack([columns, rows, columns + 1, rows + 1], 1)[None] * 4
            boxes = ops.convert_to_tensor(cells) + shifts * ops.convert_to_tensor(np.array([-1, -1, 1, 1], np.float32))
            scores = ops.sigmoid(logits)
            if not chosen:
                return ops.concatenate([boxes, scores], -1)
            best, which = ops.max(scores, -1), ops.argmax(scores, -1)
            _, order = ops.top_k(best, 24)
            every = ops.concatenate([boxes, best[..., None], ops.cast(which, "float32")[..., None]], -1)
            return ops.take_along_axis(every, ops.cast(order, "int32")[..., None], 1)

    model = keras.Model(inputs, {"table": Table()(shifts, logits), "raw": logits})
    raw = numpy_of(model(IMAGES)["raw"])
    found = gs.Explainer(model, labels=LABELS, layer="body")(IMAGES)
    np.testing.assert_allclose(found.scores[:, 0], raw.max((1, 2)), atol=1e-5)
    assert [row[0].index for row in found.targets] == [int(x.max(0).argmax()) for x in raw]
    top, left, _, _ = found.targets[0][0].place
    row, column = divmod(int(raw[0].max(1).argmax()), 6)
    assert (row - 0.3) * 4 < top <= row * 4
    assert (column - 0.3) * 4 < left <= column * 4
    assert found.maps.any(axis=(1, 2, 3)).all()
