"""Attention weights and their gradients on each engine, against a slow formula in float64."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from keras.src import backend

import gradsight as gs
from frameworks import slow_on_jax
from gradsight.backends.keras import KerasBackend, attends, rectify
from gradsight.backends.keras.outputs import numpy_of
from gradsight.backends.keras.running import Running
from gradsight.errors import ModelError
from gradsight.layers import Layer
from gradsight.targets import OutputContext, resolve
from oracles import ORACLES

ENGINE = keras.backend.backend()
NATIVE = importlib.import_module({"tensorflow": "tensorflow", "jax": "jax", "torch": "torch.nn.functional"}[ENGINE])
NATIVE = NATIVE if ENGINE == "torch" else NATIVE.nn
SIZE, PATCH, GRID = (12, 16), 4, (3, 4)
WIDTH, HEADS, EACH, BLOCKS, CLASSES = 12, 2, 5, 2, 4
TARGETS = [1, 3]

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class ClassToken(L.Layer):
    """Puts a token of its own before the others."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="normal", name="token")

    def call(self, x: Any) -> Any:
        return ops.concatenate([ops.repeat(self.token, ops.shape(x)[0], axis=0), x], axis=1)


class ByHand(L.Layer):
    """Self-attention as people write it: no layer of Keras's own, heads split by hand."""

    def build(self, shape: Any) -> None:
        self.parts = [L.Dense(HEADS * EACH, name=name) for name in ("query", "key", "value")]
        self.end = L.Dense(shape[-1], name="end")
        for part in self.parts:
            part.build(shape)
        self.end.build((*shape[:-1], HEADS * EACH))

    def call(self, x: Any) -> Any:
        q, k, v = (ops.reshape(part(x), (-1, x.shape[1], HEADS, EACH)) for part in self.parts)
        weights = ops.softmax(ops.einsum("nqhc,nkhc->nhqk", q, k) / EACH**0.5)
        return self.end(ops.reshape(ops.einsum("nhqk,nkhc->nqhc", weights, v), (-1, x.shape[1], HEADS * EACH)))


class Merged(ByHand):
    """The same, where the heads of an image are rows of the batch, one after the other, for Keras's plain attention."""

    def call(self, x: Any) -> Any:
        def rows(part: Any) -> Any:
            heads = ops.transpose(ops.reshape(part(x), (-1, x.shape[1], HEADS, EACH)), (0, 2, 1, 3))
            return ops.reshape(heads, (-1, x.shape[1], EACH))

        q, k, v = (rows(part) for part in self.parts)
        mixed = ops.reshape(L.Attention()([q / EACH**0.5, v, k]), (-1, HEADS, x.shape[1], EACH))
        return self.end(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, x.shape[1], HEADS * EACH)))


class Native(ByHand):
    """The same, by functions of the engine's own."""

    def call(self, x: Any) -> Any:
        q, k, v = (ops.reshape(part(x), (-1, x.shape[1], HEADS, EACH)) for part in self.parts)
        if ENGINE == "torch":
            mixed = torch.nn.functional.scaled_dot_product_attention(*(y.transpose(1, 2) for y in (q, k, v)))
            mixed = mixed.transpose(1, 2)
        elif ENGINE == "jax":
            mixed = NATIVE.dot_product_attention(q, k, v)
        else:
            mixed = ops.einsum("nhqk,nkhc->nqhc", NATIVE.softmax(ops.einsum("nqhc,nkhc->nhqk", q, k) / EACH**0.5), v)
        return self.end(ops.reshape(mixed, (-1, x.shape[1], HEADS * EACH)))


class Block(L.Layer):
    """A block of a transformer, whose additions are no layers."""

    def build(self, shape: Any) -> None:
        self.first, self.attention, self.second = L.LayerNormalization(), ByHand(), L.LayerNormalization()
        self.wide, self.narrow = L.Dense(20, activation="tanh"), L.Dense(WIDTH)
        for layer in (self.first, self.attention, self.second, self.wide):
            layer.build(shape)
        self.narrow.build((*shape[:-1], 20))

    def call(self, x: Any) -> Any:
        x = x + self.attention(self.first(x))
        return x + self.narrow(self.wide(self.second(x)))


class Written(keras.Model):
    """A ViT that is the user's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = L.Conv2D(WIDTH, PATCH, PATCH, name="patches")
        self.token = ClassToken(name="class_token")
        self.blocks = [Block(name=f"block_{i}") for i in range(BLOCKS)]
        self.norm, self.head = L.LayerNormalization(name="norm"), L.Dense(CLASSES, name="head")

    def call(self, images: Any) -> Any:
        x = self.token(ops.reshape(self.patches(images), (-1, 12, WIDTH)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def functional(attention: Any, *, token: bool) -> Any:
    """A ViT as Keras's examples write it; without a class token, all tokens are averaged."""
    images = keras.Input((*SIZE, 3))
    x = L.Reshape((-1, WIDTH))(L.Conv2D(WIDTH, PATCH, PATCH, name="patches")(images))
    x = ClassToken(name="class_token")(x) if token else x
    for i in range(BLOCKS):
        y = L.LayerNormalization()(x)
        x = L.Add(name=f"attended_{i}")([x, attention()(y, y)])
        y = L.Dense(20, activation="tanh")(L.LayerNormalization()(x))
        x = L.Add(name=f"block_{i}")([x, L.Dense(WIDTH)(y)])
    x = L.LayerNormalization(name="norm")(x)
    x = x[:, 0] if token else L.GlobalAveragePooling1D()(x)
    return keras.Model(images, L.Dense(CLASSES, activation="softmax", name="head")(x))


MODELS: dict[str, Any] = {
    "fused": lambda: functional(lambda: L.MultiHeadAttention(HEADS, EACH), token=True),
    "by steps, pooled": lambda: functional(lambda: L.MultiHeadAttention(HEADS, EACH, dropout=0.1), token=False),
    "grouped": lambda: functional(lambda: L.GroupQueryAttention(EACH, HEADS, 1), token=True),
    "by hand": Written,
    "native": lambda: functional(lambda: lambda x, _: Native()(x), token=True),
    "rows of heads": lambda: functional(lambda: lambda x, _: Merged()(x), token=True),
    "causal": lambda: functional(lambda: partial(L.MultiHeadAttention(HEADS, EACH), use_causal_mask=True), token=True),
}


RARE = {"by steps, pooled", "grouped", "native", "rows of heads", "causal"}
SLOW = () if ENGINE == "torch" else pytest.mark.slow
"""For the ``marks`` of a parameter: other engines trace for seconds what PyTorch runs at once."""

ALL = [pytest.param(name, marks=SLOW if name in RARE else ()) for name in MODELS]


def made(name: str) -> Any:
    """A model whose every weight is random, and large enough for attention to have an opinion."""
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    model(np.zeros((1, *SIZE, 3), np.float32))
    draw = np.random.default_rng(5)
    model.set_weights([w + 0.4 * draw.standard_normal(w.shape).astype("f") for w in model.get_weights()])
    return model


def batch(n: int = 3) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((n, *SIZE, 3), np.float32)


class Slow:
    """The same ViT in float64, step by step in PyTorch, of nothing but the weights of a model in their order.

    Attributes:
        weights: of each attention, in a graph: (n, heads, t, t).
        blocks: the tokens behind each block: (n, t, width).
        logits: (n, classes).
    """

    def __init__(self, model: Any, images: np.ndarray, causal: bool = False) -> None:
        self._left = iter([torch.from_numpy(np.array(w, np.float64)) for w in model.get_weights()])
        self._causal = causal
        self._pooled = len(model.get_weights()) % 2 == 0
        cut = torch.from_numpy(images).double().reshape(len(images), 3, PATCH, 4, PATCH, 3)
        x = torch.einsum("nyaxbc,abcd->nyxd", cut, next(self._left)).flatten(1, 2) + next(self._left)
        if not self._pooled:
            x = torch.cat([next(self._left).expand(len(images), 1, WIDTH), x], dim=1)
        self.weights: list[torch.Tensor] = []
        self.blocks: list[torch.Tensor] = []
        for _ in range(BLOCKS):
            x = x + self._attention(self._norm(x))
            x = x + self._dense(self._dense(self._norm(x)).tanh())
            self.blocks.append(x)
        self._end = list(self._left)
        self.logits = self.head(x)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        """The logits of tokens behind the last block."""
        self._left = iter(self._end)
        x = self._norm(x)
        return self._dense(x.mean(1) if self._pooled else x[:, 0])

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(x, (WIDTH,), next(self._left), next(self._left), 1e-3)

    def _dense(self, x: torch.Tensor) -> torch.Tensor:
        return x @ next(self._left) + next(self._left)

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            (x @ kernel.reshape(WIDTH, -1) + bias.flatten()).reshape(*x.shape[:2], -1, EACH).expand(-1, -1, HEADS, -1)
            for kernel, bias in [(next(self._left), next(self._left)) for _ in range(3)]
        )
        scores = torch.einsum("nqhc,nkhc->nhqk", q, k) / EACH**0.5
        later = torch.ones(scores.shape[-2:]).triu(1).bool()
        self.weights.append(torch.softmax(scores.masked_fill(later & self._causal, -torch.inf), -1).requires_grad_())
        mixed = torch.einsum("nhqk,nkhc->nqhc", self.weights[-1], v).flatten(2)
        return mixed @ next(self._left).reshape(-1, WIDTH) + next(self._left)


def seen(model: Any, images: np.ndarray) -> Any:
    """The probe of a model's first block."""
    shared = KerasBackend(model)
    context = partial(OutputContext, len(images))
    inputs = shared.prepare(images)
    return shared.run(
        inputs, [Layer("block_0", "tokens", GRID)], lambda logits, _: resolve(gs.Several(*TARGETS), context(logits))
    ).probes[0]


def close(ours: Any, theirs: torch.Tensor) -> None:
    expected = theirs.detach().numpy()
    found = ours if isinstance(ours, np.ndarray) else numpy_of(ours)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


def slopes(scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The gradient of (n, k) scores by (n, heads, t, t): (n, k, heads, t, t)."""
    each = [torch.autograd.grad(scores[:, j].sum(), weights, retain_graph=True)[0] for j in range(scores.shape[1])]
    return torch.stack(each, dim=1)


@pytest.mark.parametrize("name", ALL)
def test_what_is_seen_of_attention_is_that_of_the_formula(name: str) -> None:
    model, images = made(name), batch()
    probe, slow = seen(model, images), Slow(model, images, name == "causal")
    for ours, theirs in zip(probe.attention_gradients, slow.weights, strict=True):
        close(ours, slopes(slow.logits[:, TARGETS], theirs))
    for ours, theirs in zip(probe.attention, slow.weights, strict=True):
        close(ours, theirs)
        close(ops.sum(ours, axis=-1), torch.ones(tuple(ours.shape[:-1])))
    for ours, theirs, tokens in zip(probe.attending.formation_gradients, slow.weights, slow.blocks, strict=True):
        logits = slow.head(tokens.mean(1, keepdim=True).expand_as(tokens))
        close(ours, slopes(logits[:, TARGETS], theirs))


def by_formula(slow: Slow) -> Any:
    """What the oracles of attention need, see `attending.Attended`."""
    n, k, extra = len(slow.logits), len(TARGETS), slow.weights[0].shape[-1] - 12
    formation = [slow.head(x.mean(1, keepdim=True).expand_as(x))[:, TARGETS] for x in slow.blocks]
    return SimpleNamespace(
        n=n,
        k=k,
        grid=GRID,
        positions=range(extra, extra + 12),
        sequences=1,
        read=[[[0] if extra else list(range(12))] * k] * n,
        calls=[(0, 0, x.detach().numpy()) for x in slow.weights],
        call_gradients=[slopes(slow.logits[:, TARGETS], x).numpy() for x in slow.weights],
        formation_gradients=[slopes(y, x).numpy() for y, x in zip(formation, slow.weights, strict=True)],
    )


NAMED = [
    *("attention", "attentionrollout", "gradientrollout", "legrad"),
    *("attention(head=1)", "attentionrollout(discard=0.5)", "legrad(blocks=1)"),
]


@pytest.mark.parametrize("name", ["by hand", pytest.param("by steps, pooled", marks=SLOW)])
def test_methods_of_attention_equal_their_oracles(name: str) -> None:
    model, images = made(name), batch()
    explainer = gs.Explainer(model, method=NAMED, layer="block_0", layout="tokens", grid=GRID)
    view = by_formula(Slow(model, images))
    for found in explainer(images, targets=gs.Several(*TARGETS)):
        method, _, options = found.method.partition("(")
        expected = ORACLES[method](view, **eval(f"dict({options or ')'}"))
        close(found.maps, torch.from_numpy(expected))


class Looped(ByHand):
    """Attention of one image after the other, in a loop of the engine; on PyTorch it is unrolled."""

    def call(self, x: Any) -> Any:
        def attended(row: Any) -> Any:
            q, k, v = (ops.reshape(part(row[None]), (-1, HEADS, EACH)) for part in self.parts)
            weights = ops.softmax(ops.einsum("qhc,khc->hqk", q, k) / EACH**0.5)
            return ops.reshape(ops.einsum("hqk,khc->qhc", weights, v), (-1, HEADS * EACH))

        return self.end(ops.map(attended, x))


def test_attention_in_a_loop_is_refused() -> None:
    model = functional(lambda: lambda x, _: Looped()(x), token=True)
    probe = seen(model, batch(HEADS))  # where as many heads as images could be taken for images
    for name in ("calls", "gradients", "read"):
        with pytest.raises(ModelError, match=r"cannot be (seen|compared)"):
            getattr(probe.attending, name)
    with pytest.raises(ModelError):
        _ = probe.attending.formation_gradients


def softmaxes() -> list[Any]:
    """Whatever a thread may find under the names of attention."""
    names = ("softmax", "dot_product_attention")
    return [getattr(module, name, None) for module in (NATIVE, backend.nn) for name in names]


def test_what_is_not_the_model_s_own_attention_is_refused_and_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = made("fused"), batch()
    before, state = softmaxes(), [dict(vars(layer)) for layer in model.layers]
    probe = seen(model, images)
    as_it_is = attends._Calls.__call__
    with monkeypatch.context() as patch:
        patch.setattr(attends._Calls, "__call__", lambda calls, weights: as_it_is(calls, weights) * 1.01)
        with pytest.raises(ModelError, match="gives other outputs"):
            _ = probe.attention_gradients
        patch.setattr(attends._Calls, "__call__", lambda *_: 1 / 0)
        with pytest.raises(ModelError, match="division by zero"):
            _ = seen(model, images).attention_gradients
    close(seen(model, images).attention[0], Slow(model, images).weights[0])
    assert all(a is b for a, b in zip(before, softmaxes(), strict=True))
    for layer, own in zip(model.layers, state, strict=True):
        assert all(vars(layer)[name] is value for name, value in own.items())


@slow_on_jax
def test_threads_share_a_model_and_see_no_attention_of_others() -> None:
    model, images = made("by hand"), [batch()[i : i + 1] for i in range(2)]

    def weights(image: np.ndarray) -> list[np.ndarray]:
        own = KerasBackend(model)  # which traces anew where an engine traces
        return [numpy_of(x) for x in own.attention(own.prepare(image))]

    def plain(image: np.ndarray) -> list[np.ndarray]:
        own = KerasBackend(model)
        return [numpy_of(own.outputs(own.prepare(image)))]

    slow = [Slow(model, image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(function, image) for image in images for function in (weights, plain)]
    for job, theirs in zip(jobs, (y for one in slow for y in (one.weights, [one.logits])), strict=True):
        for ours, expected in zip(job.result(), theirs, strict=True):
            close(ours, expected)


def test_passes_without_attention_do_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attends, "attending", lambda *_: 1 / 0)
    probe = seen(made("fused"), batch())
    assert np.abs(numpy_of(probe.gradients)).max() > 1e-3


@pytest.mark.eager
@pytest.mark.parametrize("numbers", [[1], [0, 1]])
def test_one_pass_more_gives_all_weights_and_gradients(numbers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    shared = seen(made("fused"), batch())._pass
    passes: list[Any] = []
    as_it_is = Running.execute
    monkeypatch.setattr(Running, "execute", lambda *given: (passes.append(given), as_it_is(*given))[1])
    found = shared.backend.attend(shared, numbers)
    assert (len(passes), len(found.weights), len(found.gradients)) == (1, BLOCKS, len(numbers))


def test_patches_of_attention_and_of_rectifiers_share_no_name() -> None:
    # Each puts back what it found: of two that come and go in any order, one would stay.
    assert not rectify._NAMES & {"softmax", "dot_product_attention"}
