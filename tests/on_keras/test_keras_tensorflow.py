"""Of TensorFlow alone: gradients by weights, which nothing here needs, are not computed.

That of a 1x1 convolution with stride 2 aborts the process on processors with AVX-512 (TensorFlow 2.21, oneDNN).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import gradsight as gs
from asking import ANYWHERE, asked
from gradsight.backends.snapshot import Snapshot
from gradsight.errors import ModelError
from gradsight.registry import METHODS

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("of TensorFlow alone", allow_module_level=True)

BY_GRADIENT = [name for name in ANYWHERE if METHODS[name].gradient and name != "cam"]  # cam needs a bare head

NOTED: list[int] = []


class Watched(L.Layer):
    """A product with a weight that notes when its gradient by the weight is computed; pruned like any operation."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 6), initializer="glorot_normal")

    def call(self, x: Any) -> Any:
        def note(slope: Any) -> Any:
            NOTED.append(1)
            return slope

        @tf.custom_gradient
        def watched(weight: Any) -> Any:
            return tf.identity(weight), lambda slope: tf.numpy_function(note, [slope], tf.float32, stateful=False)

        return x @ watched(keras.ops.add(self.kernel, 0.0))


class OfTheBatch(L.BatchNormalization):
    """Makes rows depend on each other, whatever it is told: the whole model runs for its tail."""

    def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(x, training=True, mask=mask)


def network(norm: type) -> Any:
    keras.utils.set_random_seed(5)
    entry = keras.Input((12, 12, 3))
    x = L.Conv2D(4, 3, strides=2, name="first")(entry)
    x = L.Activation("tanh")(Watched(name="watched")(x))
    x = L.ReLU()(norm()(x))
    return keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(x)))


def batch(side: int = 12) -> Any:
    return np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("norm", [L.BatchNormalization, OfTheBatch])
def test_no_method_computes_a_gradient_by_a_weight(norm: type) -> None:
    model = network(norm)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(batch()))
    tape.gradient(total, model.trainable_variables)
    assert NOTED  # it would be seen
    NOTED.clear()
    for name in [*BY_GRADIENT, "smooth(gradcam)", "contrastive(shapleycam)", "eigen_smooth(layercam)"]:
        gs.Explainer(model, layer="first", method=asked(name))(batch(), targets=gs.Top(2))
        assert not NOTED, name


@pytest.mark.parametrize(("side", "filters"), [(30, 8), (60, 8)])
def test_a_1x1_convolution_with_stride_2_is_passed_back(side: int, filters: int) -> None:
    """Of these sizes TensorFlow's own gradient by the weights aborts."""
    keras.utils.set_random_seed(6)
    entry = keras.Input((side, side, 3))
    x = L.Conv2D(filters, 3, padding="same", activation="relu", name="first")(entry)
    x = L.Conv2D(2 * filters, 1, strides=2, padding="same", use_bias=False)(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    model = keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
    for name in BY_GRADIENT:
        try:
            found = gs.Explainer(model, layer="first", method=asked(name))(batch(side), targets=gs.Top(2))
        except ModelError as error:  # not of this kind
            raise AssertionError(name) from error
        assert np.isfinite(found.maps).all(), name


@pytest.mark.parametrize("norm", [L.BatchNormalization, OfTheBatch])
def test_several_classes_go_back_at_once_as_one_by_one(norm: type) -> None:
    model, images = network(norm), batch()
    explainer = gs.Explainer(model, layer="first", method="hirescam")
    together = explainer(images, targets=gs.Classes(0, 1, 2, 3, 4)).maps
    for target in range(5):
        alone = explainer(images, targets=target).maps[:, 0]
        np.testing.assert_allclose(together[:, target], alone, atol=1e-6 * np.abs(alone).max())


@pytest.mark.parametrize("wrong", [lambda x: 2 * x, lambda _: 1 / 0])
def test_a_way_back_of_several_that_gives_something_else_is_not_taken(
    wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradsight.backends.keras.engines import way_back

    for name in ("_as_rows", "_mapped"):
        way = getattr(way_back, name)
        monkeypatch.setattr(way_back, name, lambda *rows, way=way: [wrong(x) for x in way(*rows)])
    model, images = network(L.BatchNormalization), batch()
    maps = [
        gs.Explainer(model, layer="first", targets=targets)(images).maps
        for targets in (gs.Classes(3), gs.Classes(1, 3))
    ]
    np.testing.assert_allclose(maps[1][:, 1], maps[0][:, 0], atol=1e-6 * np.abs(maps[0]).max())


def test_a_dict_that_tensorflow_puts_a_proxy_in_the_place_of_is_told() -> None:
    holder = tf.Module()
    holder.settings = {"scale": 2}
    assert not issubclass(type(holder.settings), dict)
    snapshot = Snapshot()
    snapshot.look_into(holder.settings)
    assert snapshot.holds()
    holder.settings["scale"] = 3
    assert not snapshot.holds()
    snapshot.restore()
    assert holder.settings == {"scale": 2}
