"""Grad-CAM of Keras models beside the recipe of keras.io, put down here once more for the engine of this process.

The recipe (keras.io/examples/vision/grad_cam): take the last activation off; a model of the layer's output and the
class scores; the gradient of the top class's score, averaged over the axes (0, 1, 2); the channels weighed by it and
summed; ReLU, and division by the maximum. It is written for TensorFlow; what differs on the other two is how they
differentiate. Where the recipe fails, a test says so and shows that ours does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers as L
from PIL import Image

import gradsight as gs
from frameworks import SLOW_ON_JAX, slow_on_jax

# Keras's own convert_to_numpy on PyTorch
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

SAME = 1e-5  # of full scale
APART = 1e-3  # what is no rounding any more
ENGINE = keras.backend.backend()


# The recipe.


class Recipe(NamedTuple):
    """What the recipe gives."""

    target: int  # the class
    scores: Any  # (n, classes)
    raw: Any  # (h, w): before the ReLU
    shown: Any  # (h, w)


def with_tensorflow(model: Any, layer: Any, batch: Any, index: int | None) -> tuple[Any, ...]:
    import tensorflow as tf

    both = keras.Model(model.inputs, [layer.output, model.output])
    output, scores = both([batch])
    index = int(tf.argmax(scores[0])) if index is None else index
    tail = keras.Model(layer.output, model.output)
    # Not of what lies before the layer: a tape computes the gradients by its weights too, and that of a 1x1 convolution
    # with stride 2 aborts the process on some processors.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(output)
        channel = tail(output)[:, index]
    return index, scores, output, tape.gradient(channel, output)


def with_jax(model: Any, layer: Any, batch: Any, index: int | None) -> tuple[Any, ...]:
    import jax

    both = keras.Model(model.inputs, [layer.output, model.output])
    output, scores = jax.jit(partial(_called, both))(_weights(both), [batch])
    index = int(scores[0].argmax()) if index is None else index
    tail = keras.Model(layer.output, model.output)
    channel = jax.grad(lambda x, weights: _called(tail, weights, x)[:, index].sum())
    return index, scores, output, jax.jit(channel)(output, _weights(tail))


def _weights(model: Any) -> list[Any]:
    return [[v.value for v in some] for some in (model.trainable_variables, model.non_trainable_variables)]


def _called(model: Any, weights: Any, x: Any) -> Any:
    return model.stateless_call(*weights, x)[0]


def with_torch(model: Any, layer: Any, batch: Any, index: int | None) -> tuple[Any, ...]:
    import torch

    both = keras.Model(model.inputs, [layer.output, model.output])
    output, scores = both([batch])
    index = int(scores[0].argmax()) if index is None else index
    return index, scores, output, torch.autograd.grad(scores[:, index].sum(), output)[0]


DIFFERENTIATED = {"tensorflow": with_tensorflow, "jax": with_jax, "torch": with_torch}[ENGINE]


@contextmanager
def last_activation_removed(model: Any) -> Iterator[None]:
    last = model.layers[-1]
    activation, last.activation = last.activation, keras.activations.linear
    try:
        yield
    finally:
        last.activation = activation


def recipe(model: Any, layer: str | Any, batch: Any, index: int | None = None) -> Recipe:
    """The map of the first image, for a class or for the top one."""
    layer = model.get_layer(layer) if isinstance(layer, str) else layer
    with last_activation_removed(model):
        index, *rest = DIFFERENTIATED(model, layer, batch, index)
    scores, output, gradients = (keras.ops.convert_to_numpy(x) for x in rest)
    pooled = gradients.mean(axis=(0, 1, 2))
    raw = np.squeeze(output[0] @ pooled[..., None])
    with np.errstate(invalid="ignore"):  # 0 / 0, which the engines' own arrays are silent about
        return Recipe(index, scores, raw, np.maximum(raw, 0) / raw.max())


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference, of full scale."""
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max()
    assert scale > 0
    return float(np.abs(ours - theirs).max() / scale)


def explained(model: Any, layer: str, batch: Any, targets: Any = None) -> Any:
    return gs.Explainer(model, layer=layer)(batch, targets=targets)


# Networks.


def pictures(n: int, side: int = 96) -> Any:
    """Patches of colour under noise, in [0, 255]."""
    random = np.random.default_rng(20161007)
    patches = random.uniform(0, 255, (n, 3, 3, 3)).repeat(side // 3, axis=1).repeat(side // 3, axis=2)
    return (patches + random.normal(0, 30, patches.shape)).clip(0, 255).astype(np.float32)


def livened(model: Any, batch: Any) -> None:
    """With statistics of these pictures: as built, a network gives all pictures much the same scores.

    With a beta of about 1 most of a ReLU's inputs pass, and a deep network makes less of each rounding.
    """
    random = np.random.default_rng(1)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, L.BatchNormalization)]
    for norm in norms:
        *gamma, beta, mean, variance = norm.get_weights()
        gamma = [random.uniform(0.7, 1.3, x.shape) for x in gamma]
        norm.set_weights([*gamma, random.normal(1, 0.2, beta.shape), mean, variance])
        norm.momentum = 0.0
    head = next(layer for layer in reversed(model.layers) if layer.weights)
    with last_activation_removed(model):
        scores = in_training(model, batch)
    kernel, bias = head.get_weights()
    head.set_weights([2 * kernel / scores.std(), bias])


def in_training(model: Any, batch: Any) -> Any:
    if ENGINE != "jax":
        return keras.ops.convert_to_numpy(model(batch, training=True))
    import jax

    called = jax.jit(partial(model.stateless_call, training=True))  # compiled as a whole, not operation by operation
    scores, others = called(*_weights(model), batch)
    for variable, value in zip(model.non_trainable_variables, others, strict=True):
        variable.assign(value)
    return np.asarray(scores)


class Network(NamedTuple):
    layer: str
    rescales: bool = False  # its inputs are in [0, 255]


NETWORKS = {
    "Xception": Network("block14_sepconv2_act"),
    "ResNet50": Network("conv5_block3_out"),
    "MobileNetV3Small": Network("activation_17", rescales=True),
    "DenseNet121": Network("relu"),
    "EfficientNetV2B0": Network("top_activation", rescales=True),
}
# Two will do on the others: JAX compiles for a minute, and the engines' own maps are compared elsewhere.
HERE = list(NETWORKS)[: None if ENGINE == "tensorflow" else 2]


@cache
def network(name: str) -> tuple[Any, Any]:
    """A network and two pictures."""
    keras.utils.clear_session(free_memory=False)  # numbers in the names of layers start anew
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)
    batch = pictures(8) if NETWORKS[name].rescales else pictures(8) / 127.5 - 1
    livened(model, batch)
    return model, batch[:2]


def once_more(name: str) -> Any:
    """DenseNet121 takes as long as all others together."""
    return pytest.mark.slow if name == "DenseNet121" else SLOW_ON_JAX


@pytest.mark.parametrize("name", [HERE[0], *(pytest.param(name, marks=once_more(name)) for name in HERE[1:])])
def test_the_recipe(name: str) -> None:
    (model, batch), layer = network(name), NETWORKS[name].layer
    top = [recipe(model, layer, batch[i : i + 1]) for i in range(2)]
    classes = [[r.target, (r.target + 3) % 10] for r in top]
    found = explained(model, layer, batch, classes)
    assert min(found.maps.shape[2:]) >= 3
    maps = []
    for i, j in np.ndindex(2, 2):
        theirs = recipe(model, layer, batch[i : i + 1], classes[i][j]) if j else top[i]
        assert apart(found.maps[i, j], theirs.raw) < SAME  # before the ReLU: some are below 0 everywhere
        maps.append(theirs.raw / np.abs(theirs.raw).max())
    for one, other in itertools.combinations(maps, 2):
        assert np.abs(one - other).max() > 0.01  # maps of images, and of classes, differ
    for i in range(2):
        assert found.predictions[i][0].index == top[i].target
        assert apart(found.scores[i], top[i].scores[0, classes[i]]) < SAME
        assert top[i].shown.max() == 1
        assert apart(found.heatmaps(size=found.maps.shape[2:])[i, 0], top[i].shown) < SAME


# Where the recipe fails.


def layers(filters: int = 6) -> list[Any]:
    return [
        L.Conv2D(8, 3, strides=2, activation="tanh", name="first"),
        L.Conv2D(filters, 3, activation="tanh", name="last"),
        L.Flatten(),
        L.Dense(7, activation="tanh"),
        L.Dense(5, activation="softmax"),
    ]


def chained(some: list[Any], x: Any) -> Any:
    for layer in some:
        x = layer(x)
    return x


def functional(side: int = 24) -> Any:
    keras.utils.set_random_seed(2)
    entry = keras.Input((side, side, 3))
    return keras.Model(entry, chained(layers(), entry))


def batch_of(n: int) -> Any:
    return pictures(n, 24) / 127.5 - 1


def test_of_several_images_the_recipe_averages_the_gradients_of_all() -> None:
    model, batch = functional(), batch_of(3)
    found = explained(model, "last", batch, 2)
    together = recipe(model, "last", batch, 2)
    assert together.raw.shape == found.maps.shape[2:]  # one map for three images
    alone = [recipe(model, "last", batch[i : i + 1], 2).raw for i in range(3)]
    assert apart(together.raw, alone[0]) > APART
    for ours, theirs in zip(found.maps[:, 0], alone, strict=True):
        assert apart(ours, theirs) < SAME


def test_of_an_empty_map_the_recipe_gives_nan() -> None:
    model, batch = functional(), batch_of(2)
    model.get_layer("last").activation = keras.activations.relu
    model.get_layer("last").bias.assign(-1e3 * np.ones(6))
    assert np.isnan(recipe(model, "last", batch[:1], 1).shown).all()
    found = explained(model, "last", batch, 1)
    assert (found.maps == 0).all()
    assert (found.heatmaps() == 0).all()
    assert found.target_notes[0][0]  # and says so


def test_of_a_map_below_0_everywhere_the_recipe_gives_minus_0() -> None:
    """Its maximum, by which it divides, is one of the values that it cuts."""
    model, batch = functional(), batch_of(1)
    model.get_layer("last").activation = keras.activations.sigmoid
    *_, hidden, head = model.layers
    for layer, sign in ((hidden, 1), (head, -1)):
        kernel, bias = layer.get_weights()
        layer.set_weights([sign * np.abs(kernel) / 100, bias])
    theirs = recipe(model, "last", batch, 1)
    assert theirs.raw.max() < 0
    assert (theirs.shown == 0).all()
    assert np.signbit(theirs.shown).all()
    found = explained(model, "last", batch, 1)
    assert apart(found.maps[0, 0], theirs.raw) < SAME
    assert (found.heatmaps() == 0).all()
    assert not np.signbit(found.heatmaps()).any()
    assert found.target_notes[0][0]


def test_a_sequential_model_has_no_output_for_the_recipe() -> None:
    plain, batch = functional(), batch_of(2)
    model = keras.Sequential([keras.Input((24, 24, 3)), *layers()])
    model.set_weights(plain.get_weights())
    # Keras's message; on PyTorch nn.Module's own comes before it.
    with pytest.raises(AttributeError, match=r"has never been called|has no attribute 'output'"):
        recipe(model, "last", batch[:1])
    agrees_with_each(explained(model, "last", batch), plain, batch)


def test_a_layer_of_a_nested_model_is_not_connected_for_the_recipe() -> None:
    plain, batch = functional(), batch_of(2)
    entry, outer = keras.Input((24, 24, 3)), keras.Input((24, 24, 3))
    *body, flat, hidden, head = layers()
    inner = keras.Model(entry, chained(body, entry), name="body")
    model = keras.Model(outer, head(hidden(flat(inner(outer)))))
    model.set_weights(plain.get_weights())
    with pytest.raises(ValueError, match="No such layer: last"):
        recipe(model, "last", batch[:1])
    for layer in (inner.get_layer("last"), inner):
        with pytest.raises(ValueError, match="is not connected to `inputs`"):
            recipe(model, layer, batch[:1])
    for name in ("last", "body/last", "body"):
        agrees_with_each(explained(model, name, batch), plain, batch)


def agrees_with_each(found: gs.Explanation, plain: Any, batch: Any) -> None:
    """With the recipe on the same layers, plainly chained, one image at a time."""
    for i in range(len(batch)):
        theirs = recipe(plain, "last", batch[i : i + 1])
        assert found.targets[i][0].index == theirs.target
        assert theirs.raw.max() > 0
        assert apart(found.maps[i, 0], theirs.raw) < SAME
        assert apart(found.heatmaps(size=found.maps.shape[2:])[i, 0], theirs.shown) < SAME


# Trained weights, in files of Keras 2: faces.

FACES = {  # frames in photos/emotion_classification.jpg, left, top, right, bottom, within their lines
    "surprise": (146, 158, 303, 331),
    "happy": (667, 102, 851, 304),
    "sad": (139, 595, 320, 795),
    "angry": (694, 640, 889, 855),
}
EMOTIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
LAST = "conv2d_7"


def faces(folder: Path) -> Any:
    """(4, 64, 64, 1) in [-1, 1]."""
    with Image.open(folder / "photos" / "emotion_classification.jpg") as photo:
        cut = [photo.convert("L").crop(box).resize((64, 64)) for box in FACES.values()]
    return np.stack([np.asarray(face, np.float32)[..., None] / 127.5 - 1 for face in cut])


@slow_on_jax
@pytest.mark.parametrize("file", ["fer2013_mini_XCEPTION.102-0.66.hdf5", "gender_mini_XCEPTION.21-0.95.hdf5"])
def test_the_recipe_on_faces_and_trained_weights(file: str, data: Path) -> None:
    folder = data / "keras_mini_xception"
    model, batch = keras.models.load_model(folder / file, compile=False), faces(folder)
    found = explained(model, LAST, batch)
    if file.startswith("fer"):
        assert [row[0].index for row in found.targets] == [EMOTIONS.index(name) for name in FACES]
    assert isinstance(model.output, list)  # where the recipe expects the scores
    plain = keras.Model(model.inputs[0], model.outputs[0])
    for i in range(len(batch)):
        theirs = recipe(plain, LAST, batch[i : i + 1])
        assert found.targets[i][0].index == theirs.target
        assert theirs.raw.max() > 0
        assert apart(found.maps[i, 0], theirs.raw) < SAME
        assert apart(found.heatmaps(size=(4, 4))[i, 0], theirs.shown) < SAME


@pytest.mark.not_on_jax
def test_one_call_from_the_file_gives_the_recipes_heat_map_and_predictions(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    loaded = gs.load_model("keras:Xception", weights="none")
    photo = tmp_path / "photo.png"
    Image.fromarray(pictures(1, 300)[0].astype(np.uint8)[:, :211]).save(photo)
    array = keras.utils.img_to_array(keras.utils.load_img(photo, target_size=(299, 299)))
    batch = keras.applications.xception.preprocess_input(array[None])
    livened(loaded.model, np.concatenate([batch, batch[:, ::-1]]))
    theirs = recipe(loaded.model, "block14_sepconv2_act", batch)
    found = gs.explain(photo, model=loaded, layer="block14_sepconv2_act", method="gradcam")
    assert apart(found.maps[0, 0], theirs.raw) < SAME
    shown = np.maximum(found.maps[0, 0], 0) / found.maps[0, 0].max()
    np.testing.assert_allclose(shown, theirs.shown, atol=SAME)
    exponents = np.exp(theirs.scores[0] - theirs.scores[0].max())
    best = np.argsort(-exponents)[:5]
    assert [x.index for x in found.predictions[0]] == list(best)
    shares = exponents[best] / exponents.sum()
    np.testing.assert_allclose([x.probability for x in found.predictions[0]], shares, rtol=1e-4)
