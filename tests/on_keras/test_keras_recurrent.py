"""Loops in Keras models: recurrent layers of all kinds, and the engine's own loops in a user's layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import gradsight as gs
from asking import asked
from frameworks import SLOW_ON_JAX
from gradsight.backends.keras import KerasBackend
from gradsight.errors import ModelError
from gradsight.layers import INPUT
from gradsight.targets import OutputContext, resolve
from tolerances import rounding

ENGINE = keras.backend.backend()
CLASSES = [1, 2]
METHODS = ["gradcam", "gradcampp", "ablationcam", "gradient", "occlusion"]
METHODS += [] if ENGINE == "jax" else ["eigencam", "shapleycam", "guidedbackprop", "deconvnet", "integratedgradients"]
STEPS, CHANNELS, UNITS = 12, 3, 4
CLOSE = 8 * rounding(terms=STEPS * UNITS, layers=STEPS)

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def batch(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, *(shape or (STEPS, CHANNELS))), np.float32)


def filled(model: Any) -> Any:
    """The model with the same weights on every engine."""
    draw = np.random.default_rng(5)
    model.set_weights([0.5 * draw.standard_normal(w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def around(recurrent: Any, behind: bool = True) -> Any:
    """A convolution, something with a loop, and another convolution or a dense layer."""
    entry = keras.Input((STEPS, CHANNELS))
    x = recurrent(L.Conv1D(UNITS, 3, padding="same", activation="relu", name="conv")(entry))
    if behind:
        x = L.GlobalAveragePooling1D()(L.Conv1D(UNITS, 3, activation="relu", name="after")(x))
    return filled(keras.Model(entry, L.Dense(5, name="dense")(x)))


def assert_same(found: Any, expected: Any, close: float = CLOSE) -> None:
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=close * np.abs(expected).max())


class Cell(L.Layer):
    """A cell of the user's own, with layers in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state_size = self.units = UNITS
        self.inward, self.along = L.Dense(UNITS, name="inner"), L.Dense(UNITS, use_bias=False)

    def build(self, shape: Any) -> None:
        self.inward.build(shape)
        self.along.build((None, UNITS))
        self.built = True

    def call(self, x: Any, states: Any) -> Any:
        h = ops.tanh(self.inward(x) + self.along(states[0]))
        return h, [h]


class Looping(L.Layer):
    """A loop of the engine's own around a dense layer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = L.Dense(UNITS, name="inner")

    def build(self, shape: Any) -> None:
        self.dense.build((*shape[:-1], UNITS))
        self.built = True

    def step(self, h: Any) -> Any:
        return ops.tanh(self.dense(h))


class Scan(Looping):
    def call(self, x: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            h = self.step(h + row)
            return h, h

        return ops.transpose(ops.scan(step, ops.zeros_like(x[:, 0]), ops.transpose(x, (1, 0, 2)))[1], (1, 0, 2))

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], UNITS)


class Fixed(Looping):
    def call(self, x: Any) -> Any:
        return ops.fori_loop(0, 3, lambda _, h: self.step(h), x)


class Open(Looping):
    def call(self, x: Any) -> Any:
        return ops.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, self.step(h)), (0, x))[1]


class Mapped(Looping):
    def call(self, x: Any) -> Any:
        return ops.vectorized_map(self.step, x)


class Branching(Looping):
    def call(self, x: Any) -> Any:
        return ops.cond(ops.sum(x) > -1e9, lambda: self.step(x), lambda: x)


class Twin(nn.Module):
    """The same with PyTorch's own recurrent modules."""

    def __init__(self, model: Any, recurrent: nn.Module) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv1d(CHANNELS, UNITS, 3, padding=1), nn.Conv1d(UNITS, UNITS, 3)
        self.relu, self.relu2, self.rec, self.fc = nn.ReLU(), nn.ReLU(), recurrent, nn.Linear(UNITS, 5)
        weights = [torch.from_numpy(w) for w in model.get_weights()]
        with torch.no_grad():
            self.conv.weight.copy_(weights[0].permute(2, 1, 0))
            self.conv.bias.copy_(weights[1])
            for i, suffix in enumerate(["l0", "l0_reverse"][: (len(weights) - 6) // 3]):
                kernel, along, bias = weights[2 + 3 * i : 5 + 3 * i]
                getattr(recurrent, f"weight_ih_{suffix}").copy_(kernel.T)
                getattr(recurrent, f"weight_hh_{suffix}").copy_(along.T)
                getattr(recurrent, f"bias_ih_{suffix}").copy_(bias)
                getattr(recurrent, f"bias_hh_{suffix}").zero_()
            self.after.weight.copy_(weights[-4].permute(2, 1, 0))
            self.after.bias.copy_(weights[-3])
            self.fc.weight.copy_(weights[-2].T)
            self.fc.bias.copy_(weights[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv(x)).transpose(1, 2)
        x = self.rec(x)[0].transpose(1, 2)
        return self.fc(self.relu2(self.after(x)).mean(2))


TWINS: dict[str, tuple[Callable[[], Any], Callable[[], nn.Module]]] = {
    "LSTM": (lambda: L.LSTM(UNITS, return_sequences=True), lambda: nn.LSTM(UNITS, UNITS, batch_first=True)),
    "SimpleRNN": (lambda: L.SimpleRNN(UNITS, return_sequences=True), lambda: nn.RNN(UNITS, UNITS, batch_first=True)),
    "unrolled": (
        lambda: L.LSTM(UNITS, return_sequences=True, unroll=True),
        lambda: nn.LSTM(UNITS, UNITS, batch_first=True),
    ),
    "Bidirectional": (
        lambda: L.Bidirectional(L.LSTM(UNITS // 2, return_sequences=True)),
        lambda: nn.LSTM(UNITS, UNITS // 2, batch_first=True, bidirectional=True),
    ),
}


@pytest.mark.parametrize(
    "kind", ["LSTM", pytest.param("Bidirectional", marks=pytest.mark.slow)] if ENGINE == "jax" else TWINS
)
def test_maps_before_and_behind_a_recurrent_layer_are_those_of_the_pytorch_twin(kind: str) -> None:
    model = around(TWINS[kind][0]())
    twin, x = Twin(model, TWINS[kind][1]()).eval(), batch()
    explainer = gs.Explainer(model)
    other = gs.Explainer(twin)
    turned = torch.from_numpy(x).transpose(1, 2)
    for layer, name in (("conv", "relu"), ("after", "relu2")):
        for method in METHODS:
            if kind != "LSTM" and method not in ("gradcam", "gradient", "guidedbackprop"):
                continue
            found = explainer(x, targets=CLASSES, method=asked(method), layer=layer).maps
            expected = other(turned, targets=CLASSES, method=asked(method), layer=name).maps
            assert_same(found, expected, 1e-4 if method in ("eigencam", "shapleycam") else CLOSE)


def gradients_by_hand(model: Any, name: str, x: np.ndarray) -> tuple[Any, np.ndarray]:
    """A layer's output, and the engine's own gradient of each image's score by it."""
    layer = model.get_layer(name)
    output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
    both = keras.Model(model.input, [output, model.output])
    tail = keras.Model(output, model.output)
    held = both(ops.convert_to_tensor(x), training=False)[0]
    held = held if not hasattr(held, "detach") else held.detach().requires_grad_()

    def score(z: Any) -> Any:
        scores = tail(z, training=False)
        return ops.sum(ops.stack([scores[i, j] for i, j in enumerate(CLASSES)]))

    if ENGINE == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(held)
            total = score(held)
        return held.numpy(), tape.gradient(total, held).numpy()
    if ENGINE == "jax":
        import jax

        return np.asarray(held), np.asarray(jax.grad(score)(held))
    (gradient,) = torch.autograd.grad(score(held), held)
    return held.detach().numpy(), gradient.numpy()


def clips(many: bool) -> Any:
    entry = keras.Input((3, 8, 8, 2))
    x = L.TimeDistributed(L.Conv2D(3, 3, activation="relu", padding="same"), name="conv")(entry)
    x = L.ConvLSTM2D(3, 3, padding="same", return_sequences=many, name="rec")(x)
    pool = L.GlobalAveragePooling3D if many else L.GlobalAveragePooling2D
    return filled(keras.Model(entry, L.Dense(5)(pool()(x))))


def lines() -> Any:
    entry = keras.Input((4, 9, 2))
    x = L.ConvLSTM1D(3, 3, padding="same", return_sequences=True, name="conv")(entry)
    x = L.Conv2D(3, 2, name="rec")(x)
    return filled(keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(x))))


def with_states() -> Any:
    entry = keras.Input((STEPS, CHANNELS))
    x = L.Conv1D(UNITS, 3, activation="relu", name="conv")(entry)
    every, h, c = L.LSTM(UNITS, return_sequences=True, return_state=True)(x)
    x = L.LSTM(UNITS, return_sequences=True, name="rec")(every, initial_state=[h, c])
    return filled(keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling1D()(x))))


def networks_in_time() -> Any:
    network = keras.Sequential([L.Input((8, 8, 2)), L.Conv2D(3, 3, activation="relu"), L.Conv2D(3, 3)])
    entry = keras.Input((3, 8, 8, 2))
    x = L.TimeDistributed(L.GlobalAveragePooling2D())(L.TimeDistributed(network, name="conv")(entry))
    return filled(keras.Model(entry, L.Dense(5)(L.GRU(UNITS)(x))))


KINDS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "GRU backwards": (
        lambda: around(L.GRU(UNITS, go_backwards=True, return_sequences=True, name="rec")),
        ["conv", "rec"],
    ),
    "own cell": (lambda: around(L.RNN(Cell(), return_sequences=True, name="rec")), ["conv", "rec"]),
    "stacked": (
        lambda: around(L.RNN([L.LSTMCell(UNITS), L.GRUCell(UNITS)], return_sequences=True, name="rec")),
        ["conv", "rec"],
    ),
    "last state": (lambda: around(L.LSTM(UNITS, name="rec"), behind=False), ["conv"]),
    "states": (with_states, ["conv", "rec"]),
    "ConvLSTM2D": (lambda: clips(True), ["conv", "rec"]),
    "ConvLSTM2D, last": (lambda: clips(False), ["conv"]),
    "ConvLSTM1D": (lines, ["conv", "rec"]),
    "TimeDistributed": (networks_in_time, ["conv"]),
    "scan": (lambda: around(Scan(name="rec")), ["conv", "rec"]),
    "fori_loop": (lambda: around(Fixed(name="rec")), ["conv", "rec"]),
    "while_loop": (lambda: around(Open(name="rec")), ["rec"] if ENGINE == "jax" else ["conv", "rec"]),
    "vectorized_map": (lambda: around(Mapped(name="rec")), ["conv", "rec"]),
    "cond": (lambda: around(Branching(name="rec")), ["conv", "rec"]),
}


ON_JAX = {"own cell", "stacked", "states", "ConvLSTM2D", "scan", "while_loop", "cond"}
"""Kinds that are always tried on JAX, which compiles each for seconds; the others are marked slow there."""


@pytest.mark.parametrize("kind", [pytest.param(x, marks=() if x in ON_JAX else SLOW_ON_JAX) for x in KINDS])
def test_gradients_through_loops_are_those_taken_by_hand(kind: str) -> None:
    make, layers = KINDS[kind]
    model = make()
    x = batch(*model.input_shape[1:])
    before = [w.copy() for w in model.get_weights()]
    explainer = gs.Explainer(model)
    for name in layers:
        held, gradient = gradients_by_hand(model, name, x)
        positions = tuple(range(1, held.ndim - 1))
        expected = (gradient.mean(positions, keepdims=True) * held).sum(-1)
        if (kind, name) == ("GRU backwards", "rec"):  # which gives its last step first: the map is in the order of time
            expected = expected[:, ::-1]
        found = explainer(x, targets=CLASSES, layer=name, method="gradcam").maps[:, 0]
        assert_same(found, expected)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("kind", ["GRU backwards", "own cell", "stacked", "ConvLSTM2D", "scan", "vectorized_map"])
def test_what_fullgrad_adds_up_is_the_score(kind: str) -> None:
    model = KINDS[kind][0]()
    backend = KerasBackend(model)
    inputs = backend.prepare(batch(*model.input_shape[1:]))
    shared = backend.run(inputs, [INPUT], lambda logits, _: resolve(CLASSES, OutputContext(2, logits)))
    image = shared.probes[0]
    of_image = backend.numpy(image.gradients[:, 0]) * backend.numpy(image.activations)
    terms = [of_image, *(backend.numpy(term) for term in image.bias_terms(0))]
    assert any(term.ndim == of_image.ndim and term.shape[1] in (3, UNITS) for term in terms[1:])  # has positions
    total = sum(term.reshape(2, -1).sum(1) for term in terms)
    largest = max(np.abs(term).reshape(2, -1).sum(1).max() for term in terms)
    np.testing.assert_allclose(total, backend.numpy(shared.scores)[:, 0], rtol=0, atol=CLOSE * largest)


@pytest.mark.parametrize(
    "wrap", [pytest.param(lambda x: x, id="GRU"), pytest.param(L.Bidirectional, id="Bidirectional", marks=SLOW_ON_JAX)]
)
def test_steps_that_a_mask_leaves_out_have_no_part_in_the_map(wrap: Any) -> None:
    entry = keras.Input((None, CHANNELS))
    x = L.TimeDistributed(L.Dense(UNITS, activation="tanh"), name="conv")(L.Masking()(entry))
    model = filled(keras.Model(entry, L.Dense(5)(wrap(L.GRU(UNITS))(x))))
    x = batch()
    x[0, 8:], x[1, 5:] = 0, 0
    for layer, method in (("conv", "hirescam"), (None, "gradient")):
        chosen = {} if layer is None else {"layer": layer}
        maps = gs.Explainer(model)(x, targets=CLASSES, method=method, **chosen).maps[:, 0]
        for i, length in enumerate((8, 5)):
            assert not maps[i, length:].any()
            short = gs.Explainer(model)(x[i : i + 1, : length + 1], targets=CLASSES[i], method=method, **chosen).maps[
                0, 0
            ]
            assert_same(maps[i, :length], short[:length])


@pytest.mark.parametrize("recurrent", [L.GRU, L.LSTM])
def test_a_stateful_layer_starts_from_the_users_state_and_leaves_it(recurrent: Any) -> None:
    entry = keras.Input(batch_shape=(2, STEPS, CHANNELS))
    x = L.Conv1D(UNITS, 3, activation="relu", name="conv")(entry)
    x = recurrent(UNITS, stateful=True, return_sequences=True, name="rec")(x)
    model, x = filled(keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling1D()(x)))), batch()
    explainer = gs.Explainer(model, targets=CLASSES, layer="conv")
    first = explainer(x).maps
    model(x)  # the user goes on
    state = [ops.convert_to_numpy(s) for s in model.get_layer("rec").states]
    second = explainer(x).maps
    assert np.abs(second - first).max() > 1e-3 * np.abs(first).max()
    np.testing.assert_array_equal(explainer(x).maps, second)
    explainer(x, method="gradient")
    for before, now in zip(state, model.get_layer("rec").states, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(now), before)


@pytest.mark.skipif(ENGINE == "torch", reason="loops are Python's own there: every step can be held")
@pytest.mark.parametrize("kind", ["scan", "vectorized_map", "own cell", "cond"])
def test_a_layer_within_a_loop_is_refused_in_words(kind: str) -> None:
    model = KINDS[kind][0]()
    for call in ("", "#0", "#1"):
        with pytest.raises(ModelError, match=r"runs step by step inside a loop.*Name the layer around it, 'rec"):
            gs.Explainer(model)(batch(), layer="inner" + call)
    assert not any("inner" in layer.name for layer in gs.Explainer(model).layers(batch()))


@pytest.mark.parametrize("kind", ["own cell", "scan", "ConvLSTM2D"])
def test_the_chosen_layer_is_one_that_can_be_held(kind: str) -> None:
    model = KINDS[kind][0]()
    found = gs.Explainer(model)(batch(*model.input_shape[1:]), targets=1)
    assert found.layer == ("rec" if kind == "ConvLSTM2D" else "after")


@pytest.mark.skipif(ENGINE != "jax", reason="other engines have a gradient of such a loop")
@pytest.mark.parametrize("method", ["gradcam", "gradient"])
def test_a_loop_without_a_gradient_is_refused_in_words(method: str) -> None:
    with pytest.raises(ModelError, match=r"no gradient on jax: .*Name a layer behind it, or use a method without"):
        gs.Explainer(around(Open(name="rec")))(batch(), layer="conv", method=method)
