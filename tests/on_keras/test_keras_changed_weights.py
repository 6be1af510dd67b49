"""Whatever changes a model between two calls, the next map is that of the model as it is now, by every method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L

import gradsight as gs
from gradsight.registry import METHODS

ENGINE = keras.backend.backend()
BATCH = np.random.default_rng(0).standard_normal((2, 8, 9, 3), np.float32)
ONES = np.ones((2, 3), np.float32)

FEW = {
    "fem": "deviations=0.5",
    "rise": "masks=6",
    "sscam": "samples=2",
    "iscam": "samples=2",
    "smoothgrad": "samples=2",
    "smoothgradcampp": "samples=2",
    "integratedgradients": "steps=2",
    "occlusion": "window=0.5, stride=0.5",
}
CONTROLS = ("random", "edge", "centre")
"""They do not look at the model."""

# To compile every method takes minutes on JAX, so there is one of each mechanism: a whole pass, the tail, further
# passes, a rule for rectifiers, biases.
NAMES = ["gradcam", "ablationcam", "cam", "shapleycam", "occlusion", "guidedbackprop", "fullgrad"]
if ENGINE != "jax":
    NAMES = [name for name in METHODS if name not in CONTROLS and not METHODS[name].attends]

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(seed: int = 0) -> Any:
    """What every method can explain at "last", CAM too."""
    steps = [
        *(L.Conv2D(4, 3, name="first"), L.BatchNormalization(name="norm"), L.ReLU(name="bent")),
        *(L.Conv2D(4, 3, name="second"), L.Activation("tanh", name="last")),
        *(L.GlobalAveragePooling2D(), L.Dense(3, name="head")),
    ]
    return drawn(keras.Sequential([keras.Input(BATCH.shape[1:]), *steps]), seed)


def drawn(model: Any, seed: int = 0) -> Any:
    """The model with weights of either sign, the same on every engine."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        values = random.choice([-1, 1], variable.shape) * random.uniform(0.1, 0.4, variable.shape)
        variable.assign(np.abs(values) if "variance" in variable.path else values)
    return model


def maps_of(explainer: gs.Explainer, layer: str, names: list[str]) -> dict[str, np.ndarray]:
    """By method, the maps of class 1."""
    found = {}
    for at in ("layer", "input", "layers"):
        methods = [f"{name}({FEW[name]})" if name in FEW else name for name in names if METHODS[name].at == at]
        where: Any = ["first", layer] if at == "layers" else layer
        for one in explainer(BATCH, method=methods, layer=where, targets=1) if methods else ():
            found[one.method] = one.maps
    return found


def check(model: Any, change: Callable[[Any], Any], layer: str = "last", names: list[str] = NAMES) -> None:
    """The old explainer gives what a new one gives, and that is another map than before."""
    explainer = gs.Explainer(model)
    before = maps_of(explainer, layer, names)
    change(model)
    now, new = maps_of(explainer, layer, names), maps_of(gs.Explainer(model), layer, names)
    assert len(now) == len(names)
    for name, maps in new.items():
        size = np.abs(maps).max()
        np.testing.assert_allclose(now[name], maps, atol=1e-5 * size, rtol=0, err_msg=name)
        assert np.abs(before[name] - maps).max() > 1e-3 * size, name


def assign(model: Any) -> None:
    for variable in model.variables:
        variable.assign(1.3 * variable.value + 0.2)


def assign_add(model: Any) -> None:
    for variable in model.variables:
        variable.assign_add(0.3 * keras.ops.ones_like(variable.value))


def frozen_and_assigned(model: Any) -> None:
    model.trainable = False
    assign(model)


def set_weights_of_layers(model: Any) -> None:
    for layer in model.layers:
        layer.set_weights([1.3 * weight + 0.2 for weight in layer.get_weights()])


def set_weights(model: Any) -> None:
    model.set_weights(network(seed=1).get_weights())


def load_weights(model: Any, folder: Path) -> None:
    network(seed=1).save_weights(folder / "other.weights.h5")
    model.load_weights(folder / "other.weights.h5")


def train_on_batch(model: Any) -> None:
    model.compile("sgd", "mse")
    for _ in range(3):
        model.train_on_batch(BATCH, ONES)


def averages_swapped_in(model: Any) -> None:
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
    for _ in range(2):
        model.train_on_batch(BATCH, ONES)
    model.optimizer.finalize_variable_values(model.trainable_variables)


def averages_by_callback(model: Any) -> None:
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
    model.fit(BATCH, ONES, epochs=2, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)])


def low_rank(model: Any) -> None:
    for name in ("first", "head"):
        layer = model.get_layer(name)
        layer.enable_lora(2)
        for variable in (layer.lora_kernel_a, layer.lora_kernel_b):
            variable.assign(keras.ops.ones_like(variable.value))


def other_attributes(model: Any) -> None:
    model.get_layer("norm").epsilon = 4.0
    model.get_layer("last").activation = keras.activations.sigmoid


def data(model: Any) -> None:
    for variable in model.variables:
        variable.value.data = 1.3 * variable.value.data + 0.2


def vector(model: Any) -> None:
    parameters = [variable.value for variable in model.trainable_variables]
    flat = torch.nn.utils.parameters_to_vector(parameters)
    torch.nn.utils.vector_to_parameters(-1.5 * flat, parameters)


def in_place(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3).add_(0.2)


def step_of_torch(model: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    model(BATCH, training=False).square().sum().backward()
    optimizer.step()


def state_dict(model: Any) -> None:
    values = zip(model.state_dict(), network(seed=1).state_dict().values(), strict=True)
    model.load_state_dict(dict(values))


WAYS = [
    *(assign, assign_add, frozen_and_assigned, set_weights_of_layers, set_weights, train_on_batch),
    *(averages_swapped_in, averages_by_callback, low_rank, other_attributes),
]
WAYS_OF_TORCH = [data, vector, in_place, step_of_torch, state_dict]
if ENGINE == "jax":  # where they all end in the same assignment
    WAYS = [assign, train_on_batch, low_rank, other_attributes]


@pytest.mark.parametrize("way", [*WAYS, *(WAYS_OF_TORCH if ENGINE == "torch" else ())], ids=lambda way: way.__name__)
def test_a_changed_model_is_explained_as_it_is_now(way: Callable[[Any], Any]) -> None:
    check(network(), way)


def test_weights_from_a_file_are_seen(tmp_path: Path) -> None:
    check(network(), lambda model: load_weights(model, tmp_path), names=["gradcam", "ablationcam", "occlusion"])


class Unseen:
    """Keras does not look into it."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer


class Own(keras.Model):
    """Weights where Keras keeps none: an array, a number deep inside, a layer that it does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = L.Conv2D(4, 3, name="first"), L.Conv2D(4, 3, activation="tanh", name="last")
        self.table = np.array([1, 2, -1, 0.5], np.float32)
        self.numbers = {"of": [{"strength": [1.5]}]}
        self.steps = [[L.Dense(4, name="step")]]
        self.beside = Unseen(L.Dense(3))
        self.head = L.Dense(3)

    def call(self, x: Any) -> Any:
        x = self.last(keras.ops.relu(self.first(x)))
        x = x * keras.ops.convert_to_tensor(self.table) * self.numbers["of"][0]["strength"][0]
        x = keras.ops.mean(keras.ops.sin(self.steps[0][0](x)), axis=(1, 2))
        return self.head(x) + self.beside.layer(x)


def an_array_in_place(model: Any) -> None:
    model.table[:] = [-1, 1, 3, 0]


def a_number_deep_inside(model: Any) -> None:
    model.numbers["of"][0]["strength"][0] = -0.5


def a_layer_in_a_list_in_a_list(model: Any) -> None:
    other = L.Dense(4)
    other.build((None, None, None, 4))
    model.steps[0][0] = other


def a_layer_that_keras_does_not_know_of(model: Any) -> None:
    for variable in model.beside.layer.variables:
        variable.assign(1 - 2 * variable.value)


@pytest.mark.parametrize(
    "way",
    [an_array_in_place, a_number_deep_inside, a_layer_in_a_list_in_a_list, a_layer_that_keras_does_not_know_of],
    ids=lambda way: way.__name__,
)
def test_what_keras_keeps_no_account_of_is_seen_too(way: Callable[[Any], Any]) -> None:
    model = Own()
    model(BATCH)
    check(drawn(model), way, names=["gradcam", "ablationcam", "occlusion"])


def test_a_variable_in_the_closure_of_a_function_is_seen() -> None:
    factor = keras.Variable(np.float32(1.5))
    steps = [L.Conv2D(4, 3, name="last"), L.Lambda(lambda x: keras.ops.sin(factor * x)), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input(BATCH.shape[1:]), *steps])
    check(drawn(model), lambda _: factor.assign(-0.7), names=["gradcam", "ablationcam", "occlusion"])


def test_a_tail_that_holds_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept over changes of weights, since it reads them where they are."""
    if ENGINE == "torch":
        from gradsight.backends.keras.engines import torch as module

        where, name = module, "checked_tail"
    elif ENGINE == "tensorflow":
        from gradsight.backends.keras.engines.traced import Traced

        where, name = Traced, "__init__"
    else:
        pytest.skip("JAX takes the weights as arguments, and tells nobody when it compiles")
    traced: list[int] = []
    original = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *args, **options: traced.append(1) or original(*args, **options))
    model = network()
    explainer = gs.Explainer(model, layer="last", method="ablationcam", targets=1)
    explainer(BATCH)
    assert traced
    traced.clear()
    assign(model)
    explainer(BATCH)
    assert not traced
