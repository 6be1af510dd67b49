"""Where positions of the image lie in a layer's output on Keras: what `test_positions` shows on PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import gradsight as gs
from gradsight.backends.keras.outputs import numpy_of
from gradsight.errors import ModelError


def check_places(model: Any, image: Any, grid: Sequence[int], layer: str | None = None) -> None:
    """A change of the part of the image that lies in a cell shows in that cell, for corners and another."""
    seen: list[Any] = []

    def keep(probe: Any, _ops: Any) -> Any:
        seen.append(numpy_of(probe.activations))
        return probe.activations[:, :1] * 0

    explainer = gs.Explainer(model, targets=1, layer=layer, method=keep)
    explainer(image)
    sides = [side // cells for side, cells in zip(image.shape[1:-1], grid, strict=True)]
    corners = itertools.product(*[(0, cells - 1) for cells in grid])
    for cell in [*corners, tuple(min(cells - 1, i + 1) for i, cells in enumerate(grid))]:
        changed = image.copy()
        changed[(0, *(slice(i * s, (i + 1) * s) for i, s in zip(cell, sides, strict=True)))] += 3
        explainer(changed)
        change = np.abs(seen[-1] - seen[0]).sum(1)[0]
        assert np.unravel_index(change.argmax(), change.shape) == cell


def noise(*size: int) -> Any:
    return np.random.default_rng(0).standard_normal((1, *size, 3), np.float32)


def head(y: Any) -> Any:
    return L.Dense(5)(L.GlobalAveragePooling1D()(y))


def windows(y: Any) -> Any:
    """(n, 8, 6, c) to tokens, square by square."""
    y = L.Reshape((4, 2, 3, 2, 16))(y)
    return L.Reshape((48, 16))(L.Permute((1, 3, 2, 4, 5))(y))


ORDERS: dict[str, Callable[[Any], Any]] = {
    "by rows": lambda y: L.Reshape((48, 16))(y),
    "by columns": lambda y: L.Reshape((48, 16))(L.Permute((2, 1, 3))(y)),
    "windows": windows,
    "turned": lambda y: L.Permute((2, 1, 3))(y),
    "channels first": lambda y: L.Permute((3, 1, 2))(y),
    "windows apart": lambda y: L.Reshape((12, 4, 16))(windows(y)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_positions_in_any_order_lie_where_they_look(order: str) -> None:
    keras.utils.set_random_seed(0)
    given = L.Input((64, 48, 3))
    placed = L.Activation("tanh", name="placed")(ORDERS[order](L.Conv2D(16, 8, 8)(given)))
    model = keras.Model(given, L.Dense(5)(L.Flatten()(placed)))
    check_places(model, noise(64, 48), (8, 6), "placed")
    best = gs.Explainer(model).layers(noise(64, 48))[0]
    assert (best.name, best.layout.grid) == ("placed", (8, 6))


def test_heads_are_no_map() -> None:
    keras.utils.set_random_seed(0)
    given = L.Input((56, 56, 3))
    x = L.Reshape((49, 24))(L.Conv2D(24, 8, 8)(given))
    heads = L.Reshape((49, 24))(L.Reshape((49, 4, 6), name="heads")(x))
    x = L.LayerNormalization(name="norm")(L.Add()([x, heads]))
    model = keras.Model(given, head(x))
    explainer = gs.Explainer(model, targets=3)
    ranked = explainer.layers(noise(56, 56))
    assert (ranked[0].name, ranked[0].layout.grid) == ("norm", (7, 7))
    assert "heads" not in [x.name for x in ranked]
    with pytest.raises(ModelError, match=r"no positions|no grid has"):
        explainer(noise(56, 56), layer="heads")


def test_a_signal_of_as_many_channels_as_steps() -> None:
    keras.utils.set_random_seed(0)
    given = L.Input((96, 3))
    x = L.Conv1D(24, 4, 4, activation="relu")(given)
    x = L.Dense(24, activation="tanh", name="mixed")(L.Permute((2, 1))(x))  # (n, channels, hidden): no steps are left
    steps = L.Conv1D(24, 4, 4, name="steps")(given)
    turned = L.Permute((2, 1), name="turned")(steps)
    model = keras.Model(given, L.Dense(5)(L.Concatenate()([L.Flatten()(x), L.Flatten()(turned)])))
    for layer in ("steps", "turned"):
        check_places(model, noise(96), (24,), layer)


@pytest.mark.parametrize("ending", ["segmentation", "pooled"])
def test_a_map_of_one_channel_is_the_prediction_and_not_what_it_is_made_of(ending: str) -> None:
    keras.utils.set_random_seed(0)
    body = [L.Input((32, 32, 3)), L.Conv2D(8, 3, padding="same", activation="relu", name="features")]
    rest: dict[str, Any] = {
        "segmentation": [L.Conv2D(1, 1, activation="sigmoid")],
        "pooled": [L.Conv2D(1, 1), L.GlobalAveragePooling2D(), L.Activation("sigmoid")],
    }
    target = gs.Pixels(0, box=(4, 4, 20, 20)) if ending == "segmentation" else None
    ranked = gs.Explainer(keras.Sequential([*body, *rest[ending]]), targets=target).layers(noise(32, 32))
    assert ranked[0].name == "features"
    assert all("class-score map" in x.remark for x in ranked if x.channels == 1)


@keras.saving.register_keras_serializable()
class Shuffled(L.Layer):
    """Tokens in an order that no grid has."""

    def call(self, x: Any) -> Any:
        order = np.random.default_rng(0).permutation(48)
        return ops.take(x, ops.convert_to_tensor(order), axis=1)


def test_an_order_that_no_grid_has_is_refused_in_words() -> None:
    keras.utils.set_random_seed(0)
    given = L.Input((64, 48, 3))
    x = Shuffled(name="shuffled")(L.Reshape((48, 16))(L.Conv2D(16, 8, 8, name="patches")(given)))
    explainer = gs.Explainer(keras.Model(given, head(x)), targets=1)
    with pytest.raises(ModelError, match="positions come in an order that no grid has"):
        explainer(noise(64, 48), layer="shuffled")
    assert explainer(noise(64, 48)).maps.shape == (1, 1, 8, 6)


def test_methods_that_change_activations_put_them_back_in_their_order() -> None:
    image, maps = noise(64, 48), []
    for order in ("by rows", "by columns", "windows"):
        keras.utils.set_random_seed(1)
        given = L.Input((64, 48, 3))
        x = L.Activation("tanh", name="placed")(ORDERS[order](L.Conv2D(16, 8, 8)(given)))
        model = keras.Model(given, head(x))
        methods = ["gradcam", "ablationcam", "scorecam(top=8)", "layercam", "fullgrad"]
        maps.append([x.maps for x in gs.Explainer(model, layer="placed", targets=3, method=methods)(image)])
    for found in maps[1:]:
        for a, b in zip(maps[0], found, strict=True):
            np.testing.assert_allclose(a, b, atol=5e-5 * np.abs(a).max())


def test_the_trial_is_four_passes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential(
        [L.Input((16, 16, 3)), L.Conv2D(4, 3, 2, name="conv"), L.GlobalAveragePooling2D(), L.Dense(5)]
    )
    backend: Any = gs.Explainer(model, layer="conv", targets=1)._model.backend()
    inputs, passes, each = backend.prepare(noise(16, 16)), [], backend.engine.each
    monkeypatch.setattr(
        backend.engine, "each", lambda key, body, several: passes.append(len(several)) or each(key, body, several)
    )
    assert backend.positions(inputs) is backend.positions(inputs)
    assert passes == [4]  # a pattern, noise, and noise that grows along two axes
