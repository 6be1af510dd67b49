"""What a Keras model is given: in the user's own order, and in memory of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import gradsight as gs

SIZES = {"a": 8, "b": 10, "c": 6}
ARRAYS = {
    name: np.random.default_rng(i).random((2, side, side, 3), np.float32)
    for i, (name, side) in enumerate(SIZES.items())
}

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pooled(x: Any) -> Any:
    return keras.ops.mean(x, axis=(1, 2))


def functional(names: str, structure: type = list) -> Any:
    """Each image is squared by its own convolution, and the scores are sums of them all."""
    inputs = {name: L.Input((None, None, 3), name=name) for name in names}
    each = [pooled(keras.ops.square(L.Conv2D(4, 3, name=f"of_{name}")(x))) for name, x in inputs.items()]
    outputs = L.Dense(2)(L.Concatenate()(each))
    return keras.Model(inputs if structure is dict else list(inputs.values()), outputs)


class Views(keras.Model):
    """Two images in a dict in a dict, beside a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.of_a, self.of_b, self.head = L.Conv2D(4, 3, name="of_a"), L.Conv2D(4, 3, name="of_b"), L.Dense(2)

    def call(self, inputs: Any) -> Any:
        views = inputs["views"]
        each = [pooled(keras.ops.square(self.of_a(views["a"]))), pooled(keras.ops.square(self.of_b(views["b"])))]
        return self.head(keras.ops.concatenate(each, axis=1)) * inputs["factor"]


class Arguments(keras.Model):
    """Two images as two arguments; the scores stand first in a dict, though not in the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.of_a, self.of_b, self.head = L.Conv2D(4, 3, name="of_a"), L.Conv2D(4, 3, name="of_b"), L.Dense(2)

    def call(self, a: Any, b: Any) -> Any:
        each = [pooled(keras.ops.square(self.of_a(a))), pooled(keras.ops.square(self.of_b(b)))]
        return {"zebras": self.head(keras.ops.concatenate(each, axis=1)), "ants": pooled(a)}


def slopes(model: Any, name: str, class_: int = 1) -> np.ndarray:
    """By hand: the largest magnitude over colours of d score / d image, each image in its own convolution alone."""
    layer, head = model.get_layer(f"of_{name}"), model.layers[-1]
    kernel, bias = (keras.ops.convert_to_numpy(x).astype(np.float64) for x in (layer.kernel, layer.bias))
    place = [x.name for x in model.layers if x.name.startswith("of_")].index(f"of_{name}")
    weights = keras.ops.convert_to_numpy(head.kernel)[4 * place : 4 * place + 4, class_]
    images = ARRAYS[name].astype(np.float64)
    n, side = len(images), images.shape[1] - 2
    found = np.zeros_like(images)
    for row in range(side):
        for column in range(side):
            window = images[:, row : row + 3, column : column + 3]
            value = np.tensordot(window, kernel, axes=3) + bias
            slope = np.tensordot(2 * value * weights / side**2, kernel, axes=([1], [3]))
            found[:, row : row + 3, column : column + 3] += slope
    return np.abs(found).max(axis=-1).reshape(n, 1, *images.shape[1:3])


def assert_same(maps: np.ndarray, other: np.ndarray) -> None:
    assert maps.shape == other.shape
    assert np.abs(other).max() > 0
    np.testing.assert_allclose(maps, other, atol=1e-5 * np.abs(other).max(), rtol=0)


def given(names: str) -> dict[str, np.ndarray]:
    return {name: ARRAYS[name] for name in names}


@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_of_images_in_a_dict_the_one_that_is_put_first_is_explained(structure: type, kind: type) -> None:
    model = functional("abc", structure)
    explainer = gs.Explainer(model, method="gradient", targets=1)
    for order in ("abc", "bac", "cba", "acb"):
        assert_same(explainer(kind(given(order))).maps, slopes(model, order[0]))


def test_of_images_by_position_the_first_is_explained_and_the_names_do_not_matter() -> None:
    model = functional("ba")
    explainer = gs.Explainer(model, method="gradient", targets=1)
    assert_same(explainer((ARRAYS["b"], ARRAYS["a"])).maps, slopes(model, "b"))
    assert_same(explainer(given("ab")).maps, slopes(model, "a"))


def test_two_orders_of_images_of_one_size_are_not_mixed() -> None:
    model = functional("ab")
    images = {"a": ARRAYS["a"], "b": 1 - ARRAYS["a"][::-1]}
    explainer = gs.Explainer(model, targets=1)
    methods = ["gradient", "scorecam", "ablationcam", "occlusion(window=0.5, stride=0.5)"]
    for order in ("ab", "ba", "ab"):
        batch = {name: images[name] for name in order}
        for found, new in zip(
            explainer(batch, method=methods), gs.Explainer(model, targets=1)(batch, method=methods), strict=True
        ):
            assert found.layer == new.layer
            np.testing.assert_array_equal(found.maps, new.maps)


def test_a_dict_in_a_dict_keeps_its_order_too() -> None:
    model = Views()
    factor = np.full((2, 1), 2, np.float32)
    model({"views": given("ab"), "factor": factor})
    explainer = gs.Explainer(model, method="gradient", targets=1)
    for order in ("ab", "ba"):
        maps = explainer({"factor": factor, "views": given(order)}).maps
        assert_same(maps, 2 * slopes(model, order[0]))
        assert_same(explainer({"views": given(order), "factor": 3 * factor / 2}).maps, 1.5 * maps)


def test_names_of_arguments_keep_their_order_and_so_do_those_of_outputs() -> None:
    model = Arguments()
    model(**given("ab"))
    explainer = gs.Explainer(model, method="gradient", targets=1, scores=lambda outputs: next(iter(outputs.values())))
    for order in ("ab", "ba"):
        found = explainer(given(order))
        assert_same(found.maps, slopes(model, order[0]))
        assert len(found.predictions[0]) == 2  # of the zebras, which come first
    assert_same(explainer((ARRAYS["a"], ARRAYS["b"])).maps, slopes(model, "a"))


def test_an_array_that_is_given_twice_is_explained_where_it_comes_first() -> None:
    model = functional("ab")
    image = keras.ops.convert_to_tensor(ARRAYS["a"])
    explainer = gs.Explainer(model, targets=1)
    for method in ("gradient", "occlusion(window=0.5, stride=0.5)"):
        once = explainer({"a": ARRAYS["a"], "b": ARRAYS["a"].copy()}, method=method).maps
        assert_same(explainer({"a": image, "b": image}, method=method).maps, once)


class Scaled(keras.Model):
    """Takes a number beside the image, which a pass that is traced must not keep."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = L.Conv2D(4, 3, name="of_a"), L.Dense(2)

    def call(self, image: Any, scale: Any = None) -> Any:
        return self.head(pooled(keras.ops.square(self.conv(image)))) * scale


@pytest.mark.parametrize("method", ["gradient", "gradcam", "occlusion(window=0.5, stride=0.5)"])
def test_a_plain_number_among_the_inputs_is_todays(method: str) -> None:
    model = Scaled()
    model(ARRAYS["a"], scale=1.0)
    explainer = gs.Explainer(model, method=method, targets=1)
    one, three = (explainer({"image": ARRAYS["a"], "scale": scale}).maps for scale in (1.0, 3.0))
    assert_same(three, 3 * one)


class Normalised(L.Layer):
    """Writes into what it is given, on an engine whose tensors can be written into."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def call(self, x: Any) -> Any:
        return x.sub_(0.45).div_(0.225) if self.in_place else (x - 0.45) / 0.225


def in_a_row(*, in_place: bool) -> Any:
    steps = [Normalised(in_place=in_place), L.Conv2D(4, 3, activation="relu"), L.Conv2D(4, 3, name="last")]
    steps += [Normalised(in_place=in_place), L.ReLU(), L.GlobalAveragePooling2D(), L.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *steps])


class OfTwo(keras.Model):
    """Writes into both of its arguments."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.normalised, self.conv, self.head = Normalised(in_place=in_place), L.Conv2D(4, 3, name="last"), L.Dense(2)

    def call(self, image: Any, other: Any) -> Any:
        found = keras.ops.relu(self.conv(self.normalised(image)))
        return self.head(pooled(found) * self.normalised(other))


BESIDE = np.random.default_rng(5).random((2, 4), np.float32)


@pytest.mark.eager  # the tensors of TensorFlow and JAX cannot be written into
@pytest.mark.parametrize(
    ("build", "extra"), [(in_a_row, ()), (OfTwo, (BESIDE,))], ids=["a layer in a row", "two arguments"]
)
@pytest.mark.parametrize("as_given", [np.array, keras.ops.convert_to_tensor], ids=["array", "tensor"])
def test_a_model_that_writes_into_its_input_is_explained_like_one_that_does_not(
    build: Callable[..., Any], extra: tuple[Any, ...], as_given: Callable[[Any], Any]
) -> None:
    values = (ARRAYS["a"], *extra)
    plain, writing = build(in_place=False), build(in_place=True)
    for model in (plain, writing):
        model(*map(np.array, values))
    writing.set_weights(plain.get_weights())
    inputs = tuple(map(as_given, values))
    explainers = [gs.Explainer(model, layer="last", targets=1) for model in (plain, writing)]
    methods = ["gradcam", "ablationcam", "shapleycam", "scorecam", "occlusion(window=0.5, stride=0.5)", "rise(masks=9)"]
    methods += ["smooth(gradcam)", "smoothgrad(samples=2)", "integratedgradients(steps=2)", "edge", "fullgrad"]
    for method in methods:
        want, got = (explainer(inputs if extra else inputs[0], method=method) for explainer in explainers)
        assert_same(got.maps, want.maps)
        for x, before in zip(inputs, values, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(x), before)


def test_of_a_layer_that_gives_several_tensors_a_note_says_which_is_explained() -> None:
    class Two(keras.layers.Layer):
        def __init__(self, name: str) -> None:
            super().__init__(name=name)
            self.conv = keras.layers.Conv2D(4, 3, name="conv2d")

        def build(self, shape: Any) -> None:
            self.conv.build(shape)

        def call(self, x: Any) -> Any:
            y = self.conv(x)
            return {"maps": keras.ops.relu(y), "others": keras.ops.tanh(y), "pooled": keras.ops.mean(y, (1, 2))}

    image = keras.Input((12, 12, 3))
    found = Two("two")(image)
    model = keras.Model(image, keras.layers.Dense(5)(keras.ops.mean(found["maps"], (1, 2))))
    batch = np.random.default_rng(0).normal(size=(1, 12, 12, 3)).astype("float32")
    found, alone = (gs.Explainer(model, layer=name)(batch, targets=1) for name in ("two", "two/conv2d"))
    (note,) = [note.text for note in found.target_notes[0][0] if note.code == "first_of_several"]
    assert note == "layer 'two' gives 2 tensors that could be maps; explained is the first, output['maps']"
    assert not any("could be maps" in note for note in alone.notes)
