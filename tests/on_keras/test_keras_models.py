"""Keras models of every kind: the same maps as their PyTorch twin, the layer that is chosen, and what they end in."""

from __future__ import annotations

import ast
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import gradsight as gs
import twins
from asking import FEW, asked
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, ModelError, UnknownName
from oracles import ORACLES
from plain import Plain, activations_and_gradients

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = [[0, 3], [4, 1]]
KINDS = ["functional", "sequential", "nested", "own"]


def maps_of(model: Any, inputs: Any, name: str, layer: Any, **options: Any) -> np.ndarray:
    found = gs.Explainer(model, layer=layer, **options)(inputs, targets=CLASSES, method=asked(name))
    return (found[0] if isinstance(found, tuple) else found).maps


def expected(twin: nn.Module, batch: torch.Tensor, name: str, layer: Any) -> np.ndarray:
    call = ast.parse(f"f({FEW.get(name, '')})", mode="eval").body
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return ORACLES[name](Plain(twin, layer, batch, CLASSES), **options)


def assert_same(maps: np.ndarray, other: Any, name: str, tolerance: float = 1e-5) -> None:
    assert maps.shape == other.shape
    scale = np.abs(other).max()
    assert scale > 0
    assert np.abs(maps - other).max() / scale < tolerance, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["gradcam", "layercam", "ablationcam", "scorecam", "gradient", "smoothgradcampp"])
def test_every_kind_of_model_gives_the_maps_of_the_oracle(name: str, kind: str) -> None:
    twin, batch = twins.curved(), twins.images()
    model = twins.model_like(twin, kind)
    maps = maps_of(model, twins.turned(batch), name, "m4")
    assert_same(maps, expected(twin, batch, name, "4"), f"{name}, {kind}")
    if kind == "nested":
        np.testing.assert_array_equal(maps_of(model, twins.turned(batch), name, "body/m4"), maps)


@pytest.mark.parametrize("layer", ["one", "act", "out1", "out2"])
@pytest.mark.parametrize("name", ["gradcam", "hirescam", "ablationcam"])
def test_a_layer_inside_a_branch_is_explained_as_well(name: str, layer: str) -> None:
    twin, model = twins.residual()
    batch = twins.images()
    maps = maps_of(model, twins.turned(batch), name, layer)
    assert_same(maps, expected(twin, batch, name, layer), f"{name}, {layer}")


@pytest.mark.parametrize(("layer", "call"), [("conv", 1), ("conv#1", 1), ("conv#0", 0)])
def test_each_call_of_a_shared_layer_is_explained(layer: str, call: int) -> None:
    twin, model = twins.shared()
    batch = twins.images()
    rows = activations_and_gradients(twin, "conv", batch.clone(), CLASSES, call=call)
    for name in ("gradcam", "hirescam"):
        maps = maps_of(model, twins.turned(batch), name, layer)
        assert_same(maps, ORACLES[name](*(x.numpy() for x in rows)), f"{name}, {layer}")


@pytest.mark.parametrize("wrap", [tuple, lambda x: dict(zip(("image", "more"), x, strict=True))], ids=["tuple", "dict"])
def test_two_inputs_are_explained_at_the_image(wrap: Any) -> None:
    twin, model = twins.two_inputs()
    batch, more = twins.images(), torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    rows = activations_and_gradients(twin, "conv", (batch.clone(), more.clone()), CLASSES)
    inputs = wrap((twins.turned(batch), more.numpy().astype(np.float32)))
    maps = maps_of(model, inputs, "hirescam", "conv")
    assert_same(maps, ORACLES["hirescam"](*(x.numpy() for x in rows)), "two inputs")
    scores = gs.Explainer(model, layer="conv", method="ablationcam")(inputs, targets=CLASSES)
    assert np.isfinite(scores.maps).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["softmax", "sigmoid", "layer", "activation"])
def test_a_softmax_at_the_end_is_left_out(kind: str, end: str) -> None:
    twin, batch = twins.curved(), twins.images()
    model = twins.model_like(twin, kind, end=end)
    explainer = gs.Explainer(model, layer="m4")
    explanation = explainer(twins.turned(batch), targets=CLASSES)
    view = Plain(twin, "4", batch, CLASSES)
    assert_same(explanation.scores, view.scores, f"scores, {kind}, {end}")
    assert_same(explanation.maps, ORACLES["gradcam"](view), f"gradcam, {kind}, {end}")
    assert explainer._model.backend().left_out == ("sigmoid" if end == "sigmoid" else "softmax")
    if end != "sigmoid":
        given = keras.ops.convert_to_numpy(model(twins.turned(batch), training=False))
        np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
        assert not any("probabilities" in note.text for row in explanation.target_notes for note in sum(row, ()))


def test_the_note_the_predictions_and_the_option_of_a_model_that_ends_in_probabilities() -> None:
    batch = twins.turned(twins.images())
    for end in ("softmax", "sigmoid"):
        model = twins.model_like(twins.curved(), end=end)
        given = keras.ops.convert_to_numpy(model(batch, training=False))
        explanation = gs.Explainer(model, layer="m4")(batch)
        best = given.argmax(axis=1)
        assert [row[0].index for row in explanation.predictions] == list(best)
        shares = [row[0].probability for row in explanation.predictions]
        np.testing.assert_allclose(shares, given.max(axis=1), atol=1e-6)
        assert f"the model ends in a {end}; the scores are the logits before it" in explanation.notes
        kept = gs.Explainer(model, layer="m4", probabilities=True)(batch)
        np.testing.assert_allclose(kept.scores[:, 0], given.max(axis=1), atol=1e-6)
        assert not any("ends in" in note.text for note in kept.target_notes[0][0])
    assert (kept.scores > 0).all()
    assert (explanation.scores < 0).any()


def test_a_softmax_elsewhere_stays() -> None:
    entry = keras.Input((12, 10, 3))
    attended = L.Conv2D(4, 3, activation="softmax", name="conv")(entry)
    model = keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling2D()(attended)))
    batch = twins.turned(twins.images())
    explanation = gs.Explainer(model, layer="conv")(batch, targets=CLASSES)
    scores = keras.ops.convert_to_numpy(model(batch, training=False))
    np.testing.assert_allclose(explanation.scores, np.take_along_axis(scores, np.array(CLASSES), 1), atol=1e-5)


def test_the_layer_that_is_chosen_is_the_last_cut() -> None:
    _, model = twins.residual()
    batch = twins.turned(twins.images())
    explainer = gs.Explainer(model)
    ranked = explainer.layers(batch)
    cuts = [x.name for x in ranked if x.cut and not x.name.startswith("zero")]
    # The second addition is written x + y, and so is no layer; Keras gives it a name all the same.
    assert ["add" if name.startswith("add_") else name for name in cuts] == ["out2", "add", "out1", "add1", "stem"]
    assert explainer(batch, targets=1).layer == "out2"
    assert ranked[0].layout.grid == (12, 10)
    assert {x.name for x in ranked if not x.cut} >= {"one", "norm", "two", "act"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_layer_is_chosen_in_every_kind_of_model(kind: str) -> None:
    twin = twins.plain()
    chosen = gs.Explainer(twins.model_like(twin, kind))(twins.turned(twins.images()), targets=1).layer
    assert chosen == ("body" if kind == "nested" else "m4")  # which ends with m4
    assert gs.Explainer(twin)(twins.images(), targets=1).layer == "4"


def test_tokens_are_folded() -> None:
    entry = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 4, strides=4, name="patches")(entry)
    x = L.Reshape((16, 8), name="tokens")(x)
    for i in range(2):
        x = L.Add(name=f"block{i}")([x, L.MultiHeadAttention(2, 4, name=f"mha{i}")(x, x)])
    x = L.LayerNormalization(name="norm")(x)
    model = keras.Model(entry, L.Dense(5)(L.GlobalAveragePooling1D()(x)))
    batch = np.random.default_rng(0).standard_normal((2, 16, 16, 3), np.float32)
    explanation = gs.Explainer(model)(batch, targets=CLASSES)
    assert explanation.layer == "norm"
    assert explanation.maps.shape == (2, 2, 4, 4)


def test_channels_first_follows_the_layer() -> None:
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    twin, batch = twins.plain(), twins.images()
    entry = keras.Input((3, 12, 10))
    conv = L.Conv2D(4, 3, padding="same", data_format="channels_first", name="m0")
    head = L.Dense(5)
    pooled = L.GlobalAveragePooling2D(data_format="channels_first")(conv(entry))
    model = keras.Model(entry, head(pooled))
    explanation = gs.Explainer(model, layer="m0")(batch.float().numpy(), targets=CLASSES)
    assert explanation.maps.shape == (2, 2, 12, 10)
    assert explanation.input_size == (12, 10)
    conv.set_weights([np.moveaxis(twin[0].weight.detach().numpy(), (0, 1), (-1, -2)), twin[0].bias.detach().numpy()])
    again = gs.Explainer(model, layer="m0", method="hirescam")(batch.float().numpy(), targets=CLASSES)
    own = nn.Sequential(twin[0], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).double()
    own[3].weight.data, own[3].bias.data = (torch.from_numpy(np.array(x)).double() for x in _linear(head))
    assert_same(again.maps, ORACLES["hirescam"](Plain(own, "0", batch, CLASSES)), "channels first")


def _linear(head: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = head.get_weights()
    return kernel.T, bias


def test_many_layers_and_methods_in_one_pass() -> None:
    twin, batch = twins.curved(), twins.images()
    explainer = gs.Explainer(twins.model_like(twin), layer=["m4", "m2"], method=["gradcam", "hirescam"])
    found = explainer(twins.turned(batch), targets=CLASSES)
    assert [(x.layer, x.method) for x in found] == [
        (layer, name) for layer in ("m4", "m2") for name in ("gradcam", "hirescam")
    ]
    for x in found:
        assert_same(x.maps, expected(twin, batch, x.method, x.layer[1:]), f"{x.method}, {x.layer} together")


def test_a_function_of_the_output_can_be_explained() -> None:
    twin, batch = twins.curved(), twins.images()
    explainer = gs.Explainer(twins.model_like(twin), layer="m4", method="hirescam")
    maps = explainer(twins.turned(batch), targets=lambda out: out[:, 1] * out[:, 2]).maps
    view = Plain(twin, "4", batch, [lambda out, _image: out[0, 1] * out[0, 2]])
    assert_same(maps, ORACLES["hirescam"](view), "function")


def test_a_class_of_a_segmentation_is_explained_in_a_box() -> None:
    model = keras.Sequential([L.Input((16, 16, 3)), L.Conv2D(4, 1, name="features"), L.Conv2D(2, 1, name="head")])
    batch = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    explainer = gs.Explainer(model, layer="features", method="hirescam")
    explanation = explainer(batch, targets=gs.Pixels(1, box=(4, 2, 8, 12)))
    kernel, bias = model.get_layer("features").get_weights()
    features = batch @ kernel[0, 0] + bias
    kernel, bias = model.get_layer("head").get_weights()
    contributions = features @ kernel[0, 0, :, 1]
    np.testing.assert_allclose(
        explanation.scores[:, 0], contributions[:, 4:8, 2:12].mean((1, 2)) + bias[1], rtol=1e-4, atol=1e-6
    )
    wanted = np.zeros((2, 16, 16))
    wanted[:, 4:8, 2:12] = contributions[:, 4:8, 2:12] / 40
    assert_same(explanation.maps[:, 0], wanted, "pixels")


@pytest.mark.not_on_jax  # what it needs of an engine other tests run there
def test_boxes_and_tokens_are_explained() -> None:
    model = keras.Sequential(
        [
            L.Input((16, 16, 3)),
            L.Conv2D(4, 1, name="features"),
            L.Conv2D(2, 4, strides=4, name="head"),
            L.Reshape((16, 2)),
        ]
    )
    corners = np.array([(4.0 * x, 4.0 * y, 4.0 * x + 4, 4.0 * y + 4) for y in range(4) for x in range(4)], np.float32)
    boxes = np.stack([corners] * 2)

    def read(outputs: Any) -> Any:
        return outputs, keras.ops.convert_to_tensor(np.tile(boxes, (outputs.shape[0] // 2, 1, 1)))

    batch = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    explainer = gs.Explainer(model, layer="features", method="hirescam", detections=read)
    scores = keras.ops.convert_to_numpy(model(batch))
    here, there = gs.Box(1, (4, 8, 8, 12)), gs.Box(0, (12, 0, 16, 4))  # cells 6 and 12
    found = explainer(batch, targets=[gs.Several(here, gs.Token(1, at=2)), gs.Several(there, gs.Token(0, at=3))])
    wanted = [[scores[0, 6, 1], scores[0, 2, 1]], [scores[1, 12, 0], scores[1, 3, 0]]]
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-4, atol=1e-6)
    for image, (row, column) in enumerate(((4, 8), (12, 0))):
        inside = np.zeros((16, 16), bool)
        inside[row : row + 4, column : column + 4] = True
        assert found.maps[image, 0][inside].any()
        assert not found.maps[image, 0][~inside].any()
    assert explainer(batch, targets=gs.Sum(here, there), method="scorecam").maps.any()


@pytest.mark.not_on_jax  # what it needs of an engine other tests run there
def test_similarity_and_sums_are_those_of_the_twin() -> None:
    twin, batch = twins.curved(), twins.images()
    other = np.linspace(-1, 2, 5)
    targets = gs.Several(gs.Similarity(embedding=other), gs.Sum(0, gs.Against(3)), gs.Top(2))
    ours = gs.Explainer(twins.model_like(twin), layer="m4")(twins.turned(batch), targets=targets)
    theirs = gs.Explainer(twin, layer="4")(batch, targets=targets)
    assert_same(ours.maps, theirs.maps, "similarity")
    logits = twin(batch).detach().numpy()
    cosines = logits @ other / np.linalg.norm(logits, axis=1) / np.linalg.norm(other)
    np.testing.assert_allclose(ours.scores[:, :2], np.stack([cosines, logits[:, 0] - logits[:, 3]], 1), rtol=1e-4)


@pytest.mark.parametrize("text", ["smooth(gradcam)", "fuse(gradcam)", "eigen_smooth(gradcam)", "contrastive(gradcam)"])
def test_variants_give_the_maps_of_the_twin(text: str) -> None:
    twin, batch = twins.curved(), twins.images()
    layers = (["m2", "m4"], ["2", "4"]) if text.startswith("fuse") else ("m4", "4")
    ours, theirs = (
        gs.Explainer(model, layer=layer, method=text)(inputs, targets=CLASSES)
        for model, layer, inputs in (
            (twins.model_like(twin), layers[0], twins.turned(batch)),
            (twin, layers[1], batch),
        )
    )
    ours, theirs = (x[0] if isinstance(x, tuple) else x for x in (ours, theirs))
    assert_same(ours.maps, theirs.maps, text)


def test_half_precision_is_explained() -> None:
    twin, batch = twins.curved(), twins.images()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = twins.model_like(twin)
    finally:
        keras.config.set_dtype_policy("float32")
    try:
        model(twins.turned(batch))
    except Exception as error:  # TensorFlow where ONEDNN_MAX_CPU_ISA forbids what it has seen that the processor can
        pytest.skip(f"Keras itself has no half precision here: {type(error).__name__}")
    maps = maps_of(model, twins.turned(batch), "gradcam", "m4")
    assert maps.dtype == np.float32
    want = expected(twin, batch, "gradcam", "4")
    np.testing.assert_allclose(maps, want, atol=0.1 * np.abs(want).max(), rtol=0)


def test_whole_numbers_are_images_too() -> None:
    twin = twins.curved()
    batch = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), np.uint8)
    explainer = gs.Explainer(twins.model_like(twin), layer="m4")
    np.testing.assert_array_equal(explainer(batch).maps, explainer(batch.astype(np.float32)).maps)


def test_errors_are_one_sentence_in_words() -> None:
    twin, batch = twins.curved(), twins.turned(twins.images())
    model = twins.model_like(twin)
    explainer = gs.Explainer(model)
    for broken, error, text in (
        (lambda: explainer(batch, layer="m44"), UnknownName, "no layer 'm44'. Did you mean 'm4'"),
        (lambda: explainer(batch, layer="m4#1"), ModelError, "layer 'm4#1' was not reached: it ran 1 time"),
        (lambda: explainer(batch, layer="m9"), ModelError, "no positions to draw a map on"),
        (lambda: explainer(batch[0]), ModelError, r"inputs\[None\]"),
        (lambda: explainer(batch[..., :2], layer="m4"), ModelError, r"failed on inputs of shape \(2, 12, 10, 2\)"),
        (lambda: explainer(np.zeros((2, 5), np.float32)), ModelError, "must hold an image"),
        (lambda: explainer("no"), GradsightError, "There is no file 'no'"),
        (lambda: explainer({"image": "no"}), InvalidType, "must be a batch"),
        (lambda: gs.Explainer(twins.Own([L.Dense(3)]))(batch), ModelError, "has not been built"),
    ):
        with pytest.raises(error, match=text) as caught:
            broken()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1500


def test_a_layer_may_be_given_itself() -> None:
    inner = keras.Sequential([L.Conv2D(4, 3, name="conv"), L.ReLU(name="relu")], name="inner")
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, L.Dense(3)(L.GlobalAveragePooling2D(name="pool")(inner(image))))
    explainer, batch = gs.Explainer(model), np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    by_name = explainer(batch, layer="inner/conv")
    found = explainer(batch, layer=[inner.get_layer("conv"), "inner/relu", inner])
    assert [each.layer for each in found] == ["inner/conv", "inner/relu", "inner"]
    np.testing.assert_array_equal(found[0].maps, by_name.maps)
    for other in (L.ReLU(), model):
        with pytest.raises(InvalidArgument, match="a module inside of the explained model"):
            explainer(batch, layer=other)
    with pytest.raises(InvalidType, match="a layer's name, a module of the model"):
        explainer(batch, layer=3)


def test_signals_and_volumes_are_drawn_as_the_model_has_their_axes() -> None:
    square = np.zeros((1, 30, 30), np.float32)  # samples, channels
    square[0, 21, :] = 1
    signal = keras.Sequential([keras.Input((30, 30)), L.Conv1D(4, 3, activation="relu"), L.GlobalAveragePooling1D()])
    explanation = gs.Explainer(signal)(square)
    assert (explanation.channel_axis, explanation.record().size) == (1, (30,))
    drawn = np.asarray(explanation.overlay(photo=square[0], opacity=0)).astype(int)
    inked = np.flatnonzero((drawn[2:6, 40:].sum(2) > 500).any(0)) + 40  # every line's peak
    assert abs(inked.mean() * 30 / drawn.shape[1] - 21.5) < 1
    volume = keras.Sequential(
        [keras.Input((8, 10, 12, 1)), L.Conv3D(2, 3, activation="relu"), L.GlobalAveragePooling3D()]
    )
    batch = np.random.default_rng(0).random((1, 8, 10, 12, 1), np.float32)
    explanation = gs.Explainer(volume)(batch)
    assert (explanation.channel_axis, explanation.record().size) == (3, (8, 10, 12))
    assert explanation.overlay(photo=batch[0]).tobytes() == explanation.overlay(photo=batch[0, ..., 0]).tobytes()


def test_a_picture_without_a_batch_is_told_how_to_be_given() -> None:
    model = keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(4, 3), L.GlobalAveragePooling2D()])
    photo = np.zeros((16, 20, 4), np.uint8)
    for preprocess in (None, gs.Preprocess((16, 16))):
        assert gs.Explainer(model, preprocess=preprocess)(photo[..., :3]).photos[0].size == (20, 16)
        with pytest.raises(GradsightError, match=r"Image\.fromarray\(array\[\.\.\., .*\]\) where OpenCV") as caught:
            gs.Explainer(model, preprocess=preprocess)(photo)
        assert len(str(caught.value)) < 1000
