"""What guided backpropagation and deconvnet take for a rectifier: the same on Keras as on PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import gradsight as gs
from frameworks import SLOW_ON_JAX
from gradsight.backends.rectifiers import tried
from gradsight.errors import ModelError

ENGINE = keras.backend.backend()
CLASSES = [1, 2]
RULES = ["guidedbackprop", pytest.param("deconvnet", marks=SLOW_ON_JAX)]
"""On JAX, which compiles each for seconds, one rule speaks for both; the other is marked slow."""

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


TABLE: dict[str, tuple[Any, Any, bool]] = {
    "relu": (lambda: L.Activation("relu"), nn.ReLU(), True),
    "ReLU layer": (lambda: L.ReLU(), nn.ReLU(), True),
    "relu6": (lambda: L.Activation("relu6"), nn.ReLU6(), True),
    "relu, ceiling": (lambda: L.ReLU(max_value=1.5), nn.Hardtanh(0, 1.5), True),
    "relu, slope": (lambda: L.ReLU(negative_slope=0.3), nn.LeakyReLU(0.3), True),
    "relu, threshold": (lambda: L.ReLU(threshold=0.5), nn.Threshold(0.5, 0.0), True),
    "leaky_relu": (lambda: L.LeakyReLU(negative_slope=0.2), nn.LeakyReLU(0.2), True),
    "prelu": (lambda: L.PReLU(shared_axes=[1, 2], alpha_initializer="ones"), nn.PReLU(init=1.0), True),
    "elu": (lambda: L.Activation("elu"), nn.ELU(), True),
    "selu": (lambda: L.Activation("selu"), nn.SELU(), True),
    "celu": (lambda: L.Activation("celu"), nn.CELU(), True),
    "gelu": (lambda: L.Activation(functools.partial(keras.activations.gelu, approximate=False)), nn.GELU(), True),
    "gelu, tanh": (lambda: L.Activation(lambda x: keras.activations.gelu(x, approximate=True)), nn.GELU("tanh"), True),
    "silu": (lambda: L.Activation("silu"), nn.SiLU(), True),
    "hard_swish": (lambda: L.Activation("hard_silu"), nn.Hardswish(), True),
    "softplus": (lambda: L.Activation("softplus"), nn.Softplus(), True),
    "mish": (lambda: L.Activation("mish"), nn.Mish(), True),
    "threshold": (lambda: L.Activation(lambda x: ops.threshold(x, 0.2, 0.0)), nn.Threshold(0.2, 0.0), True),
    "steep": (lambda: L.LeakyReLU(negative_slope=1.5), nn.LeakyReLU(1.5), False),
    "hard_tanh": (lambda: L.Activation("hard_tanh"), nn.Hardtanh(), False),
    "hard_sigmoid": (lambda: L.Activation("hard_sigmoid"), nn.Hardsigmoid(), False),
    "sigmoid": (lambda: L.Activation("sigmoid"), nn.Sigmoid(), False),
    "tanh": (lambda: L.Activation("tanh"), nn.Tanh(), False),
    "softsign": (lambda: L.Activation("softsign"), nn.Softsign(), False),
    "soft_shrink": (lambda: L.Activation("soft_shrink"), nn.Softshrink(), False),
    "hard_shrink": (lambda: L.Activation("hard_shrink"), nn.Hardshrink(), False),
    "tanh_shrink": (lambda: L.Activation("tanh_shrink"), nn.Tanhshrink(), False),
    "log_sigmoid": (lambda: L.Activation("log_sigmoid"), nn.LogSigmoid(), False),
}


def batch() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, 10, 10, 3), np.float32)


def twins(activation: Any, twin: nn.Module | None, ends: bool = True) -> tuple[Any, Any]:
    """A Keras and a PyTorch network with the same weights, and one activation between two layers."""
    draw = np.random.default_rng(0)
    first, last = (draw.standard_normal(shape).astype("f") for shape in ((3, 3, 3, 8), (8, 5)))
    first *= 0.4
    layers = activation if isinstance(activation, list) else [L.Conv2D(8, 3, use_bias=False), activation]
    pooled = [L.GlobalAveragePooling2D(), L.Dense(5, use_bias=False)]
    model = keras.Sequential([L.Input((10, 10, 3)), *layers, *pooled, *([L.ReLU()] if ends else [])])
    model.layers[0].set_weights([first])
    pooled[-1].set_weights([last])
    other = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), twin or nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    other.extend([nn.Linear(8, 5, bias=False), *([nn.ReLU()] if ends else [])])
    with torch.no_grad():
        other[0].weight.copy_(torch.from_numpy(first.transpose(3, 2, 0, 1)))
        other[4].weight.copy_(torch.from_numpy(last.T))
    return model, other.eval()


def maps(model: Any, method: str) -> Any:
    x = batch()
    given = torch.from_numpy(x.transpose(0, 3, 1, 2)) if not isinstance(model, keras.Model) else x
    return gs.Explainer(model)(given, targets=CLASSES, method=method).maps


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("name", TABLE)
def test_keras_and_pytorch_agree_on_every_activation(name: str, method: str) -> None:
    make, twin, rectifies = TABLE[name]
    model, other = twins(make(), twin, ends=False)
    if not rectifies:
        for one in (model, other):
            with pytest.raises(ModelError, match="no rectifier"):
                maps(one, method)
        return
    found, expected = maps(model, method), maps(other, method)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(found - maps(model, "gradient")).max() > 1e-2 * np.abs(found).max()  # the rule does something


def of_the_engine() -> Any:
    if ENGINE == "tensorflow":
        import tensorflow as tf

        return tf.nn.relu
    if ENGINE == "jax":
        import jax

        return jax.nn.relu
    return F.relu


class Own(L.Layer):
    """A layer that holds a function under a name of its own."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.conv, self.bend = L.Conv2D(8, 3, use_bias=False), function

    def call(self, x: Any) -> Any:
        return self.bend(self.conv(x)) * 1.0

    def build(self, shape: Any) -> None:
        self.conv.build(shape)
        self.built = True


class Calling(Own):
    """One that looks the function up when it runs."""

    def call(self, x: Any) -> Any:
        x = self.conv(x)
        if ENGINE == "tensorflow":
            import tensorflow as tf

            return tf.nn.relu(x) * 1.0
        return (ops.relu(x) if ENGINE == "jax" else keras.activations.relu(x)) * 1.0


RELUS: dict[str, Any] = {
    "engine": lambda: L.Activation(of_the_engine()),
    "keras.ops": lambda: L.Activation(ops.relu),
    "keras.activations": lambda: L.Activation(keras.activations.relu),
    "lambda": lambda: L.Activation(lambda x: ops.where(x > 0, x, 0.0)),
    "Lambda": lambda: L.Lambda(lambda x: ops.maximum(x, 0.0)),
    "argument": lambda: [L.Conv2D(8, 3, use_bias=False, activation=of_the_engine())],
    "argument, lambda": lambda: [L.Conv2D(8, 3, use_bias=False, activation=lambda x: ops.maximum(x, 0.0))],
    "layer as an argument": lambda: [L.Conv2D(8, 3, use_bias=False, activation=L.ReLU())],
    "held": lambda: [Own(of_the_engine())],
    "called": lambda: [Calling(None)],
}


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("way", RELUS)
def test_relu_is_known_however_it_is_written(way: str, method: str) -> None:
    model, other = twins(RELUS[way](), nn.ReLU())
    expected = maps(other, method)
    np.testing.assert_allclose(maps(model, method), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_rectifier_in_a_loop_obeys_the_rule() -> None:
    entry = keras.Input((6, 3))
    found = {}
    for unroll in (False, True):
        x = L.SimpleRNN(4, activation="relu", return_sequences=True, unroll=unroll)(entry)
        model = keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling1D()(x)))
        draw = np.random.default_rng(1)
        model.set_weights([draw.standard_normal(w.shape).astype("f") for w in model.get_weights()])
        x = draw.standard_normal((2, 6, 3)).astype("f")
        explainer = gs.Explainer(model, targets=CLASSES)
        found[unroll] = [explainer(x, method=name).maps for name in ("guidedbackprop", "deconvnet", "gradient")]
    for one, other in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    assert np.abs(found[True][0] - found[True][2]).max() > 1e-2 * np.abs(found[True][2]).max()


def test_a_trial_leaves_layers_and_random_numbers_as_they_are() -> None:
    class Noting(L.Layer):
        last = None

        def call(self, x: Any) -> Any:
            self.last = x
            return ops.maximum(x, 0.0)

    noting = Noting()
    model, _ = twins(noting, None)
    drop = L.Dropout(0.5, seed=1)
    model.add(drop)
    state, before = ops.convert_to_numpy(drop.seed_generator.state), noting.last
    np.random.seed(0)
    maps(model, "guidedbackprop")
    assert noting.last is before
    np.testing.assert_array_equal(ops.convert_to_numpy(drop.seed_generator.state), state)


@pytest.mark.parametrize(
    ("function", "rectifies"),
    [
        (lambda x: np.maximum(x, 0), True),
        (lambda x: 3 * np.maximum(x, 0) ** 2, True),
        (lambda x: np.where(x > 0, x, 0.9 * x), True),
        (lambda x: x, False),
        (lambda x: -np.maximum(-x, 0), False),
        (np.abs, False),
        (np.square, False),
        (np.exp, False),
        (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), False),
        (lambda x: np.maximum(x - x.mean(), 0), False),
        (lambda x: np.maximum(x, 0)[:3], False),
        (lambda x: np.full_like(x, np.nan), False),
    ],
)
def test_a_rectifier_is_told_by_what_it_does(function: Any, rectifies: bool) -> None:
    with np.errstate(all="ignore"):
        assert tried(function) is rectifies
