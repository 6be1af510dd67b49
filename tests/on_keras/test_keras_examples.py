"""The examples on Keras run on tiny data: the bean sorter, and the recipe beside which the cat and the dog stand."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import example_scripts
import gradsight as gs

# Keras on JAX and PyTorch: NumPy warns of how it copies their arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.mark.not_on_jax
def test_bean_sorter(tmp_path: Path, capsys) -> None:
    script = example_scripts.load("bean_sorter")
    data = example_scripts.load("synthetic").beans(tmp_path / "data", each=6)
    trained, held = script.split(data)
    assert (len(trained), len(held)) == (12, 6)
    assert not set(trained) & set(held)
    script.main(["--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "1"])
    told = capsys.readouterr().out
    assert re.search(r"right: \d of 6 held-out photos", told), told
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"bean_sorter.keras", "report.html"}
    run = gs.open_run(tmp_path / "out/run")
    # Sixteen positions a side, as the network's words say, and names that a reader knows again.
    assert run[0].maps.shape == (1, 1, 16, 16)
    assert all(key.partition("/")[0] in ("angular_leaf_spot", "bean_rust", "healthy") for key in run.images)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the recipe is written for TensorFlow")
def test_the_recipe_gives_the_same_numbers() -> None:
    script = example_scripts.load("cat_and_dog")
    model = keras.Sequential(
        [
            keras.layers.Input((12, 12, 3)),
            keras.layers.Conv2D(6, 3, activation="relu", name="last"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    pixels = np.random.default_rng(0).normal(size=(12, 12, 3)).astype(np.float32)
    by_hand = script.keras_recipe(model, pixels, 2, layer="last")
    explanation = gs.Explainer(model, layer="last")(pixels[None], targets=2)
    np.testing.assert_allclose(by_hand["weights"], explanation.alphas[0, 0], atol=1e-6)
    np.testing.assert_allclose(by_hand["map"], explanation.maps[0, 0], atol=1e-6)
    np.testing.assert_allclose(by_hand["heatmap"], explanation.heatmaps(size=10)[0, 0], atol=1e-5)
