"""A Keras model is the user's: nothing of it is changed, after a call or after an error, and threads may share it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from PIL import Image
from torch import nn

import gradsight as gs
import twins
from frameworks import SLOW_ON_JAX
from gradsight.errors import GradsightError
from oracles import ORACLES
from plain import Plain

CLASSES = [[0, 3], [4, 1]]
KINDS = ["functional", "sequential", "nested", "own"]

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def gradcam(twin: nn.Module, batch: torch.Tensor) -> np.ndarray:
    return ORACLES["gradcam"](Plain(twin, "4", batch, CLASSES))


def assert_same(maps: np.ndarray, other: np.ndarray) -> None:
    assert np.abs(other).max() > 0
    np.testing.assert_allclose(maps, other, atol=1e-5 * np.abs(other).max(), rtol=0)


def state(model: Any) -> dict[str, Any]:
    """All that a user could see of a model: weights, and every attribute of every layer."""
    kept: dict[str, Any] = {f"weight {i}": w.tobytes() for i, w in enumerate(model.get_weights())}
    for i, layer in enumerate(model._flatten_layers()):
        for name, value in vars(layer).items():
            members = [id(x) for x in value] if isinstance(value, list | tuple | set) else None
            members = [(id(k), id(v)) for k, v in value.items()] if isinstance(value, dict) else members
            kept[f"layer {i}.{name}"] = (id(value), members)
        kept[f"losses {i}"] = len(layer.losses)
    return kept


class Careless(keras.Model):
    """Normalises by the batch whatever it is told, drops out always, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = L.Conv2D(4, 3, activity_regularizer="l2")
        self.norm, self.drop = L.BatchNormalization(), L.Dropout(0.3, seed=1)
        self.head = L.Dense(5, activation="softmax")
        self.seen: list[Any] = []

    def call(self, x: Any) -> Any:
        x = self.norm(self.conv(x), training=True)
        self.seen.append(1)
        return self.head(self.drop(keras.ops.mean(x, axis=(1, 2)), training=True))


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("careless", marks=SLOW_ON_JAX)])
def test_the_model_stays_as_it_is(kind: str) -> None:
    twin, batch = twins.curved(), twins.turned(twins.images())
    model = Careless() if kind == "careless" else twins.model_like(twin, kind, end="softmax")
    scores = keras.ops.convert_to_numpy(model(batch, training=False))
    before = state(model)
    explainer = gs.Explainer(model)
    for name in ("gradcam", "ablationcam", "gradient", "scorecam"):
        explainer(batch, method=name, targets=CLASSES)
    for broken in (
        lambda: explainer(batch, layer="nowhere"),
        lambda: explainer(batch[:, :, :, :2]),
        lambda: explainer(batch, targets=99),
        lambda: explainer(batch, targets=lambda outputs: outputs),
    ):
        with pytest.raises(GradsightError):
            broken()
    assert state(model) == before
    if kind != "careless":
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(batch, training=False)), scores)


def test_a_changed_model_is_seen_as_it_is_now() -> None:
    twin, batch = twins.curved(), twins.images()
    model = twins.model_like(twin)
    explainer = gs.Explainer(model, layer="m4")
    first = explainer(twins.turned(batch), targets=CLASSES).maps
    with torch.no_grad():
        twin[5].weight.mul_(-1.5)
    twins.fill(model.get_layer("m5"), twin[5])
    assert_same(explainer(twins.turned(batch), targets=CLASSES).maps, gradcam(twin, batch))
    assert np.abs(explainer(twins.turned(batch), targets=CLASSES).maps - first).max() > 0
    twin[6] = nn.ReLU()
    model.get_layer("m6").activation = keras.activations.relu
    assert_same(explainer(twins.turned(batch), targets=CLASSES).maps, gradcam(twin, batch))


@pytest.mark.not_on_jax  # what it needs of an engine other tests run there
def test_alphas_and_exciting_photos_are_those_of_the_twin(tmp_path: Path) -> None:
    twin, batch = twins.plain(), twins.images()
    explainer = gs.Explainer(twins.model_like(twin), layer="m4")
    found = explainer(twins.turned(batch), targets=CLASSES)
    np.testing.assert_allclose(found.alphas, Plain(twin, "4", batch, CLASSES).gradients.mean((-2, -1)), atol=1e-6)
    channel = found.neurons(1).channels[0]
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (*twins.SIZE[:2], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    photos = sorted(tmp_path.glob("*.png"))
    preprocess = gs.Preprocess(size=twins.SIZE[:2])
    explainer = gs.Explainer(explainer.model, layer="m4", preprocess=preprocess)
    with torch.no_grad():
        maps = twin[:5](torch.from_numpy(np.stack([preprocess(photo) for photo in photos])).double())[:, channel]
    examples = explainer.top_activating(photos, [channel])[channel]
    assert [x.path for x in examples] == [photos[int(i)] for i in maps.amax((1, 2)).argsort(descending=True)]
    np.testing.assert_allclose(examples[0].map, maps[int(maps.amax((1, 2)).argmax())], atol=1e-5)


def test_calling_and_fitting_a_model_changes_its_weights_and_no_more() -> None:
    batch = twins.turned(twins.images())
    model = twins.model_like(twins.curved())
    explainer = gs.Explainer(model, layer="m4")
    first, kept = explainer(batch, targets=CLASSES).maps, explainer._model.backend()
    model(batch)
    model.predict(batch, verbose=0)
    assert explainer._model.backend() is kept  # nothing is traced or compiled again
    model.compile("sgd", "mse")
    model.fit(batch, np.ones((2, 5)), verbose=0)
    fitted = explainer(batch, targets=CLASSES).maps
    assert np.abs(fitted - first).max() > 0
    np.testing.assert_array_equal(fitted, gs.Explainer(model, layer="m4")(batch, targets=CLASSES).maps)


def test_eight_threads_give_the_maps_of_one_and_leave_a_plain_forward_alone() -> None:
    model = twins.model_like(twins.curved(), end="softmax")
    batches = [twins.turned(twins.images(n=1)) * (1 + i) for i in range(5)]
    plainly = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    before = state(model)
    explainer = gs.Explainer(model)
    ways = [("m2", "gradcam"), ("m4", "layercam"), ("m4", "guidedgradcam"), ("m2", "gradient")]
    work = [(i % len(batches), *ways[i % len(ways)], i % 5) for i in range(100)]

    def maps(w: tuple[int, str, str, int]) -> np.ndarray:
        return explainer(batches[w[0]], layer=w[1], method=w[2], targets=w[3]).maps

    want = {w: maps(w) for w in set(work)}
    watched: list[bool] = []
    stop = threading.Event()

    def forward() -> None:
        while not stop.is_set():
            for batch, scores in zip(batches, plainly, strict=True):
                again = keras.ops.convert_to_numpy(model(batch, training=False))
                watched.append(bool(np.allclose(again, scores, atol=1e-7)))

    runner = threading.Thread(target=forward)
    runner.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(maps, work))
    finally:
        stop.set()
        runner.join()
    for w, one in zip(work, found, strict=True):
        np.testing.assert_allclose(one, want[w], atol=1e-6 * np.abs(want[w]).max(), rtol=0, err_msg=str(w))
    assert watched
    assert all(watched)
    assert state(model) == before


def test_rectifiers_are_kerass_own_again_after_a_call_and_after_an_error() -> None:
    from keras.src import backend

    before = dict(vars(backend.nn))
    batch = twins.turned(twins.images())
    explainer = gs.Explainer(twins.model_like(twins.curved()), layer="m4", method="guidedbackprop")
    explainer(batch)
    assert dict(vars(backend.nn)) == before
    with pytest.raises(GradsightError):
        explainer(batch[..., :2])
    smooth = keras.Sequential([keras.Input((12, 10, 3)), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(5)])
    with pytest.raises(GradsightError, match="no rectifier"):
        gs.Explainer(smooth, method="guidedbackprop")(batch)
    assert dict(vars(backend.nn)) == before
