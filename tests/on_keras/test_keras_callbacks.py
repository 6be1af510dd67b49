"""The callback of Keras: with it a training has the same bits, and it shows the weights of now."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import gradsight as gs
from gradsight.callbacks import Snapshots, for_keras, to_folder

# Keras on JAX and PyTorch: NumPy warns of how it copies their arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

_RNG = np.random.default_rng(0)
_X, _Y = _RNG.normal(size=(12, 10, 10, 3)).astype(np.float32), np.arange(12) % 3


def _fit(callbacks):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.layers.Input((10, 10, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.3),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(_X, _Y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    return model


@pytest.mark.parametrize(("when", "every", "due"), [("epoch", 1, [0, 1, 2]), ("step", 3, [0, 3, 6])])
def test_a_training_with_the_callback_has_the_same_bits(tmp_path, when, every, due):
    plain = _fit([])
    snapshots = Snapshots(_X[:2], targets=1, every=every, to=to_folder(tmp_path))
    watched = _fit([for_keras(snapshots, when)])
    for mine, theirs in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [moment.step for moment in snapshots.film.moments] == due
    assert (tmp_path / "filmstrip.png").exists()


def test_it_shows_the_weights_of_now():
    found = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append((snapshots.take(self.model, batch), self.model.get_weights()))

    snapshots = Snapshots(_X[:2], targets=1)
    model = _fit([Look()])
    assert len(found) == 6
    for explanation, weights in (found[1], found[4]):
        model.set_weights(weights)
        np.testing.assert_allclose(explanation.maps, gs.Explainer(model)(_X[:2], targets=1).maps, atol=1e-6)
    assert not np.allclose(found[0][0].maps, found[5][0].maps)
