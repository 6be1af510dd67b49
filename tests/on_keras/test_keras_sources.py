"""Keras models by name, from files and from functions, on the engine of this process."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L
from PIL import ExifTags, Image

import gradsight as gs
import keras_files
from gradsight.errors import InvalidArgument, InvalidType, MissingDependency, ModelError, UnknownName
from gradsight.imaging import Preprocess
from gradsight.models.keras.families import builders, families, preprocess_input_of
from gradsight.models.keras.inputs import preprocess_of
from keras_files import MAIN, SHAPE, net, picture, process
from refusals import refused

# Keras's own convert_to_numpy on PyTorch
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.not_on_jax,  # what is read is the same on each engine, see test_keras_cli
]

ENGINE = keras.config.backend()

saved = keras_files.saved  # a fixture


def outputs(model: Any, batch: Any = None) -> np.ndarray:
    batch = np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)).astype(np.float32) if batch is None else batch
    return keras.ops.convert_to_numpy(model(batch, training=False))


def assert_same(model: Any, other: Any) -> None:
    np.testing.assert_allclose(outputs(model), outputs(other), rtol=1e-5, atol=1e-7)


# keras.applications. `Tiny` stands for one of its networks, and this module for the one of its family.


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    assert data_format == "channels_last"
    return x / 100


def Tiny(weights: str | None = "imagenet", input_shape: Any = None) -> Any:
    if input_shape is not None and min(input_shape[:2]) < 8:
        raise ValueError(f"Input size must be at least 8x8;\nReceived: input_shape={input_shape}")
    model = net(shape=input_shape or SHAPE, name="tiny", classes=1000)
    if weights == "imagenet":
        model.load_weights(keras.utils.get_file("tiny.weights.h5", "https://models.test/tiny.weights.h5"))
    return model


def Flat(weights: str | None = "imagenet", input_shape: Any = None) -> Any:
    shape = input_shape or SHAPE
    return keras.Sequential([keras.Input(shape), L.Flatten(), L.Dense(1000, name="scores")], name="flat")


@pytest.fixture
def applications(monkeypatch: pytest.MonkeyPatch) -> None:
    for builder in (Tiny, Flat):
        monkeypatch.setattr(keras.applications, builder.__name__, builder, raising=False)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "home"), raising=False)


def test_the_networks_are_those_that_keras_has_and_each_has_a_family() -> None:
    names = builders()
    assert {"Xception", "MobileNetV2", "ResNet50", "EfficientNetV2B0", "ConvNeXtTiny"} <= set(names)
    known = list(families().values())
    assert all(preprocess_input_of(builder) in known for builder in names.values())
    assert {"xception", "resnet50", "mobilenet_v2"} <= set(families())
    assert "imagenet_utils" not in families()


@pytest.mark.usefixtures("applications")
def test_a_network_comes_with_its_size_its_pixels_and_the_imagenet_labels() -> None:
    model, preprocess, labels = gs.load_model("keras:tiny", weights="none")
    assert (model.name, model.output_shape) == ("tiny", (None, 1000))
    assert preprocess == Preprocess(
        SHAPE[:2],
        fit="squash",
        interpolation="nearest",
        channels_last=True,
        function=preprocess_input_of(Tiny),
    )
    assert labels is not None
    # as in Keras's imagenet_class_index.json
    expected = {0: "tench", 134: "crane", 281: "tabby", 414: "backpack", 517: "crane", 639: "maillot"}
    assert all(labels[i].startswith(name) for i, name in expected.items())
    assert (len(labels), labels[999].split(", ")[0]) == (1000, "toilet tissue")


def test_unknown_networks_and_weights_get_the_nearest() -> None:
    refused(
        UnknownName, "network in keras.applications 'Xceptionn'", "Did you mean 'Xception'", source="keras:Xceptionn"
    )
    refused(UnknownName, "There is no network in keras.applications ''", source="keras:")
    words = ("weights 'imagenett'", "'imagenet'", "Or give a file")
    refused(UnknownName, *words, source="keras:Xception", weights="imagenett")


@pytest.mark.usefixtures("applications")
def test_a_file_of_weights_for_a_network(tmp_path: Path) -> None:
    trained = Tiny(weights=None)
    for name in ("w.weights.h5", "w.h5", "w.hdf5", "w.keras"):
        (trained.save_weights if ".weights" in name else trained.save)(tmp_path / name)
        assert_same(gs.load_model("keras:Tiny", weights=tmp_path / name).model, trained)


@pytest.mark.usefixtures("applications")
def test_imagenet_weights_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Tiny(weights=None)
    trained.save_weights(tmp_path / "tiny.weights.h5")
    monkeypatch.setattr(keras.utils, "get_file", lambda name, url: tmp_path / name)
    assert_same(gs.load_model("keras:Tiny").model, trained)
    assert_same(gs.load_model("keras:Tiny", weights="ImageNet").model, trained)


@pytest.mark.usefixtures("applications", "no_network")
def test_imagenet_weights_offline(capfd: pytest.CaptureFixture[str]) -> None:
    words = ("imagenet weights of the Keras network 'Tiny'", "no route to host", "--weights FILE", "--weights none")
    refused(ModelError, *words, source="keras:Tiny")
    out, err = capfd.readouterr()
    assert out == ""
    assert "Downloading data from https://models.test" in err, "or the stdout of this test says nothing"


@pytest.mark.usefixtures("applications")
def test_another_size_builds_the_network_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Tiny(weights=None)
    trained.save_weights(tmp_path / "tiny.weights.h5")
    monkeypatch.setattr(keras.utils, "get_file", lambda name, url: tmp_path / name)
    batch = np.random.default_rng(1).uniform(-1, 1, (1, 24, 12, 3)).astype(np.float32)
    expected = outputs(keras.Sequential([keras.Input((24, 12, 3)), *trained.layers]), batch)
    for weights in (None, tmp_path / "tiny.weights.h5"):
        model, preprocess, _ = gs.load_model("keras:Tiny", weights=weights, size=(24, 12))
        assert model.input_shape == (None, 24, 12, 3)
        assert preprocess.size == (24, 12)
        np.testing.assert_allclose(outputs(model, batch), expected, rtol=1e-5)
    assert gs.load_model("keras:Tiny", size=SHAPE[:2]).model.input_shape == (None, *SHAPE)


@pytest.mark.usefixtures("applications")
def test_a_size_that_a_network_does_not_take() -> None:
    words = ("size: the Keras network 'Tiny'", "at least 8x8", "Received: (4, 4)", "Leave size out")
    refused(InvalidArgument, *words, source="keras:Tiny", weights="none", size=4)
    words = ("size: the imagenet weights of Flat", "(16, 20)", "dense layer over positions", "Leave size out")
    refused(InvalidArgument, *words, source="keras:Flat", size=32)


def test_networks_whose_channels_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def First(weights: Any = "imagenet", input_shape: Any = (3, 16, 20)) -> Any:
        return keras.Sequential([keras.Input(input_shape), L.Flatten(), L.Dense(1000)])

    monkeypatch.setattr(keras.applications, "First", First, raising=False)
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    loaded = gs.load_model("keras:First", weights="none")
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE[:2], 3), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.preprocess(pixels), pixels.transpose(2, 0, 1) / np.float32(100))
    sized = gs.load_model("keras:First", weights="none", size=(12, 8))
    assert sized.model.input_shape == (None, 3, 12, 8)
    assert sized.preprocess.size == (12, 8)
    both = preprocess_of(keras.Sequential([keras.Input((3, 16, 3)), L.Flatten()]))
    assert (both.size, both.channels_last) == ((16, 3), False)


@pytest.mark.usefixtures("applications")
def test_a_network_that_the_engine_cannot_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def NotHere(weights: Any = "imagenet") -> None:
        raise ValueError("\x1b[1mNotHere is not available\x1b[0m with the torch backend.")

    monkeypatch.setattr(keras.applications, "NotHere", NotHere, raising=False)
    text = refused(ModelError, "cannot be built: NotHere is not available", "KERAS_BACKEND", source="keras:NotHere")
    assert "fetched" not in text


@pytest.mark.not_on_jax
def test_a_real_network_gets_a_photo_as_keras_shows_it(tmp_path: Path) -> None:
    path = picture(tmp_path / "photo.png", "RGB")
    model, preprocess, _ = gs.load_model("keras:mobilenetv2", weights="none")
    assert (model.name, model.input_shape) == ("mobilenetv2_1.00_224", (None, 224, 224, 3))
    loaded = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    np.testing.assert_array_equal(preprocess(path), keras.applications.mobilenet_v2.preprocess_input(loaded))


# A photo as `keras.utils.load_img` reads it


@pytest.mark.parametrize("name", ["xception", "resnet50", "densenet", "efficientnet", "mobilenet_v2"])
@pytest.mark.parametrize(
    ("file", "mode"),
    [("a.png", "RGB"), ("a.jpg", "RGB"), ("a.png", "L"), ("a.png", "RGBA"), ("a.jpg", "CMYK"), ("a.gif", "P")],
)
@pytest.mark.usefixtures("applications")
def test_pixels_are_those_of_load_img_and_preprocess_input(name: str, file: str, mode: str, tmp_path: Path) -> None:
    path = picture(tmp_path / file, mode)
    preprocess = gs.load_model("keras:Tiny", weights="none", preprocess=name).preprocess
    loaded = keras.utils.img_to_array(keras.utils.load_img(path, target_size=SHAPE[:2]), data_format="channels_last")
    theirs = getattr(keras.applications, name).preprocess_input(loaded.copy(), data_format="channels_last")
    np.testing.assert_array_equal(preprocess(path), theirs)


@pytest.mark.usefixtures("applications")
def test_photos_are_turned_upright_which_load_img_does_not_do(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(picture(tmp_path / "upright.png", "RGB")) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "held.png", exif=exif)
    preprocess = gs.load_model("keras:Tiny", weights="none").preprocess
    upright = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "upright.png", target_size=SHAPE[:2]))
    held = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "held.png", target_size=SHAPE[:2]))
    np.testing.assert_array_equal(preprocess(tmp_path / "held.png"), upright / 100)
    assert not np.array_equal(held, upright)


# Whole models in files


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_file_gives_the_same_scores_and_a_preprocessing(name: str, saved: Any, capfd: Any) -> None:
    model, preprocess, labels = gs.load_model(saved.folder / name)
    assert_same(model, saved.model)
    assert preprocess == Preprocess(SHAPE[:2], fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3, channels_last=True)
    assert labels is None
    assert gs.load_model(f"file:{saved.folder / name}").preprocess == preprocess
    assert capfd.readouterr().out == ""


def test_what_a_file_gets_can_be_replaced(saved: Any, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\ncow\n")
    path = saved.folder / "net.keras"
    changes = {"mean": (0.25,) * 3, "std": (1, 1, 1), "interpolation": "nearest", "fit": "crop"}
    _, preprocess, labels = gs.load_model(path, labels=tmp_path / "names.txt", **changes)
    assert preprocess == Preprocess(
        SHAPE[:2], interpolation="nearest", mean=(0.25,) * 3, std=(1.0,) * 3, channels_last=True
    )
    assert labels == ("ant", "bee", "cow")
    function = gs.load_model(path, preprocess="ResNet50").preprocess.function
    assert function is families()["resnet50"]
    refused(
        UnknownName, "'mobilenetv2'", "'mobilenet_v2'", "package.module:function", source=path, preprocess="mobilenetv2"
    )


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({"size": 32}, "(32, 32, 3)"),
        ({"mean": 0.5, "std": 0.5}, "(16, 20, 1)"),
        ({"preprocess": Preprocess((16, 20))}, "(3, 16, 20)"),
    ],
)
def test_a_picture_that_the_model_does_not_take_is_refused_at_once(change: Any, made: str, saved: Any) -> None:
    words = (
        "arrays of shape (16, 20, 3)",
        f"one that makes {made}",
        "give size 16x20 and 3 value(s)",
        "channels_last=True",
    )
    refused(InvalidArgument, *words, source=saved.folder / "net.keras", **change)


def of(model: Any, **changes: Any) -> bool:
    """Whether a model gets a preprocessing that differs in so far from what Keras models get."""
    usual = {"size": SHAPE[:2], "fit": "squash", "mean": (0.5,) * 3, "std": (0.5,) * 3, "channels_last": True}
    return preprocess_of(model) == Preprocess(**{**usual, **changes})


RAW = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}


def test_a_model_that_scales_its_pictures_gets_them_as_they_are() -> None:
    assert of(net(L.RandomFlip(), L.Rescaling(1 / 255)), **RAW)
    assert of(net(L.Normalization(mean=[1.0, 2, 3], variance=[1.0, 2, 3])), **RAW)
    assert of(keras.Sequential([keras.Input(SHAPE), net(L.Rescaling(1 / 127.5, -1))]), **RAW)
    entry = keras.Input(SHAPE)
    inside = keras.applications.mobilenet_v2.preprocess_input(L.RandomContrast(0.1)(entry))
    assert of(keras.Model(entry, net()(inside)), **RAW)
    assert of(net(L.Conv2D(3, 1), L.Rescaling(2.0)))
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE[:2], 3), dtype=np.uint8)
    np.testing.assert_allclose(preprocess_of(net(L.Rescaling(2.0)))(pixels), pixels, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("vgg16", "vgg16"),
        ("mobilenetv2_1.00_96", "mobilenet_v2"),
        ("mobilenet_0.25_96", "mobilenet"),
        ("resnet50v2", "resnet_v2"),
        ("inception_resnet_v2", "inception_resnet_v2"),
        ("mini_xception", None),
    ],
)
def test_a_network_of_keras_applications_inside_is_known_by_its_name(name: str, family: str | None) -> None:
    function = families()[family] if family else None
    entry = keras.Input(SHAPE)
    inner = keras.Model(entry, L.Conv2D(2, 3)(entry), name=name)
    assert of(inner, function=function)
    ending = [L.GlobalAveragePooling2D(), L.Dense(2)]
    assert of(keras.Sequential([keras.Input(SHAPE), L.RandomFlip(), inner, *ending]), function=function)
    assert of(keras.Sequential([keras.Input(SHAPE), L.Conv2D(3, 1), inner, *ending]))


def test_sizes_channels_and_axes_are_the_model_s() -> None:
    grey = {"mean": (0.5,), "std": (0.5,)}
    assert of(net(shape=(16, 20, 1)), **grey)
    assert of(net(shape=(None, None, 3)), size=(224, 224))
    first = keras.Sequential([keras.Input((1, 16, 20)), L.Flatten(), L.Dense(2)])
    assert of(first, channels_last=False, **grey)
    assert of(keras.Sequential([keras.Input((3, 16, 3)), L.Flatten()]), size=(3, 16))
    assert preprocess_of(keras.Sequential([keras.Input((7,)), L.Dense(2)])) is None
    assert preprocess_of(keras.Sequential([keras.Input((8, 8, 5)), L.Flatten()])) is None
    two = [keras.Input(SHAPE), keras.Input((2,))]
    assert preprocess_of(keras.Model(two, L.Concatenate()([L.Flatten()(two[0]), two[1]]))) is None


# Files that are refused


def test_files_take_no_weights_and_no_capitals(saved: Any, tmp_path: Path) -> None:
    words = ("weights do not go with a .keras file", "Leave it out")
    refused(InvalidArgument, *words, source=saved.folder / "net.keras", weights="w.h5")
    (tmp_path / "NET.H5").write_bytes((saved.folder / "net.h5").read_bytes())
    refused(InvalidArgument, "lower case", "end in .h5", source=tmp_path / "NET.H5")


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.hdf5"])
@pytest.mark.parametrize("damage", ["empty", "text", "half", "noise"])
def test_damaged_files(name: str, damage: str, saved: Any, tmp_path: Path, capfd: Any) -> None:
    whole = (saved.folder / name.replace("hdf5", "h5")).read_bytes()
    content = {"empty": b"", "text": b"hello\n", "half": whole[: len(whole) // 2], "noise": bytes(range(256)) * 9}
    (tmp_path / name).write_bytes(content[damage])
    word = "empty file" if damage == "empty" else "damaged"
    refused(ModelError, word, "Received", source=tmp_path / name)
    assert capfd.readouterr().out == ""


def test_a_half_written_archive_and_files_of_other_kinds(saved: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("notes.txt", "mine")
    refused(ModelError, "no Keras model, or damaged", "config.json", source=tmp_path / "a.keras")
    altered(saved.folder / "net.keras", tmp_path / "b.keras", "model.weights.h5", None)
    refused(ModelError, "cannot rebuild this file", "saved by Keras 3", "damaged", source=tmp_path / "b.keras")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["photos"] = np.zeros(3)
    refused(ModelError, "neither a Keras model nor weights", source=tmp_path / "data.h5")
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.h5")
    refused(ModelError, "a file of PyTorch's", "end in .pt", source=tmp_path / "w.h5")


def test_weights_alone_are_no_model(saved: Any, tmp_path: Path) -> None:
    older = tmp_path / "older.h5"
    with h5py.File(saved.folder / "net.h5") as whole, h5py.File(older, "w") as alone:
        for name, value in whole["model_weights"].attrs.items():
            alone.attrs[name] = value
    for path in (saved.folder / "net.weights.h5", older):
        words = ("weights and no architecture", "--model keras:NAME --weights", "package.module:function")
        refused(InvalidArgument, *words, source=path)


def altered(path: Path, to: Path, record: str, content: bytes | None) -> Path:
    """Copy an archive with one record replaced, or left out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            if name != record or content is not None:
                new.writestr(name, old.read(name) if name != record or content is None else content)
    return to


class Mine(L.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def twice(x: Any) -> Any:
    return x * 2


def loss(true: Any, found: Any) -> Any:
    return found


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_classes_of_the_user_s_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(Mine(name="mine"))
    model.save(tmp_path / name)
    words = ("not Keras 3's own: Mine.", "register_keras_serializable", "package.module:function")
    refused(ModelError, *words, source=tmp_path / name)
    registered = {**keras.saving.get_custom_objects(), "Mine": Mine}
    monkeypatch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", registered)
    assert_same(gs.load_model(tmp_path / name).model, model)


def test_a_function_of_the_user_s_is_named(tmp_path: Path) -> None:
    net(L.Activation(twice)).save(tmp_path / "own.keras")
    refused(ModelError, "no part of Keras's models: twice.", source=tmp_path / "own.keras")


def test_what_a_model_was_trained_with_does_not_matter(tmp_path: Path) -> None:
    model = net()
    model.compile("sgd", loss=loss)
    for name in ("trained.keras", "trained.h5"):
        model.save(tmp_path / name)
        assert_same(gs.load_model(tmp_path / name).model, model)


def test_keras_2_has_archives_that_keras_3_does_not_read(saved: Any, tmp_path: Path) -> None:
    about = json.dumps({"keras_version": "2.15.0"}).encode()
    path = altered(saved.folder / "net.keras", tmp_path / "two.keras", "metadata.json", about)
    refused(ModelError, "saved by Keras 2.15.0", "model.save('model.h5')", source=path)


# Files that carry code


class Boom:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def sly(ran: Path) -> Any:
    """A function that writes a file."""
    path = str(ran)
    return lambda x: (open(path, "w").close(), x)[1]


def with_lambda(_: Path, ran: Path) -> Any:
    return keras.saving.serialize_keras_object(L.Lambda(sly(ran), output_shape=SHAPE, name="sly"))


def inside_of_a_layer(_: Path, ran: Path) -> Any:
    inner = keras.saving.serialize_keras_object(L.Lambda(sly(ran), output_shape=SHAPE[1:], name="sly"))
    return {"module": "keras.layers", "class_name": "TimeDistributed", "config": {"layer": inner, "name": "each"}}


def as_an_activation(_: Path, ran: Path) -> Any:
    parts = with_lambda(_, ran)["config"]["function"]["config"]
    code = {"class_name": "__lambda__", "config": {"value": [parts["code"], parts["defaults"], parts["closure"]]}}
    return {"module": "keras.layers", "class_name": "Activation", "config": {"activation": code, "name": "sly"}}


def pickled_module(_: Path, ran: Path) -> Any:
    import torch

    torch.save(Boom(ran), buffer := io.BytesIO())
    code = base64.b64encode(buffer.getvalue()).decode()
    return {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": code, "name": "sly"}}


def saved_model(folder: Path, ran: Path) -> Any:
    if ENGINE != "tensorflow":
        pytest.skip("saved models of TensorFlow are read on TensorFlow alone")
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def serve(self, x: Any) -> Any:
            tf.io.write_file(str(ran), "")
            return x

    model = Writes()
    tf.saved_model.save(model, str(folder / "sm"), signatures={"serving_default": model.serve})
    config = {"filepath": str(folder / "sm"), "call_endpoint": "serving_default", "name": "sly"}
    return {"module": "keras.layers", "class_name": "TFSMLayer", "config": config}


CODE = {
    "a Lambda": with_lambda,
    "a Lambda inside of a layer": inside_of_a_layer,
    "marshalled code as an activation": as_an_activation,
    "a pickled module": pickled_module,
    "a saved model": saved_model,
}


def with_layer_in(saved: Any, path: Path, layer: Any) -> Path:
    """The saved model with a layer more in its description."""

    def changed(text: bytes | str) -> bytes:
        config = json.loads(text)
        # a saved model gives a dict, which no other layer takes
        place = len(config["config"]["layers"]) if layer["class_name"] == "TFSMLayer" else 1
        config["config"]["layers"].insert(place, {"registered_name": None, **layer})
        return json.dumps(config).encode()

    if path.suffix == ".keras":
        with zipfile.ZipFile(saved.folder / "net.keras") as archive:
            content = changed(archive.read("config.json"))
        return altered(saved.folder / "net.keras", path, "config.json", content)
    path.write_bytes((saved.folder / "net.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = changed(file.attrs["model_config"])
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("what", CODE)
def test_code_in_a_file_is_not_run(what: str, suffix: str, saved: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is unsafe
        path = with_layer_in(saved, tmp_path / f"a{suffix}", CODE[what](tmp_path, ran))
    ran.unlink(missing_ok=True)
    words = ("would run code", "Requested the deserialization of a", "Nothing of it was run", "package.module:function")
    refused(ModelError, *words, source=path)
    assert not ran.exists()
    # the payload must be live for this to mean anything
    with contextlib.suppress(Exception):  # what it gives is no model, by then
        outputs(keras.saving.load_model(path, compile=False, safe_mode=False))
    assert ran.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_vocabulary_outside_of_the_file_is_not_read(suffix: str, saved: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\nb\n")
    config = {"vocabulary": str(tmp_path / "secret"), "name": "words"}
    layer = {"module": "keras.layers", "class_name": "StringLookup", "config": config}
    path = with_layer_in(saved, tmp_path / f"a{suffix}", layer)
    refused(ModelError, "read other files", "a vocabulary file", "package.module:function", source=path)
    model = keras.saving.load_model(path, compile=False, safe_mode=False)
    assert "b" in model.get_layer("words").get_vocabulary()


def as_a_class(name: str) -> Any:
    return {"module": "keras.distribution", "class_name": name, "config": {}}


def as_a_function(name: str) -> Any:
    return {"module": "keras.distribution", "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("form", [as_a_class, as_a_function])
def test_a_function_of_keras_that_is_no_part_of_a_model_is_not_called(
    form: Any, suffix: str, saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"activation": form("set_distribution"), "name": "sly"}
    layer = {"module": "keras.layers", "class_name": "Activation", "config": config}
    path = with_layer_in(saved, tmp_path / f"a{suffix}", layer)
    try:
        refused(ModelError, "no part of Keras's models: set_distribution.", "Nothing of it was run", source=path)
        assert keras.distribution.distribution() is None
        # Keras's own safe mode calls it: the payload is live
        monkeypatch.setattr("gradsight.models.sources.keras_file.files.foreign_functions", lambda config: [])
        with contextlib.suppress(Exception):  # it gives nothing that the next layer could take
            outputs(gs.load_model(path).model)
        assert keras.distribution.distribution() is not None
    finally:
        keras.distribution.set_distribution(None)


BUILDS = {"module": "builtins", "class_name": "function", "config": "deserialize"}


@pytest.mark.parametrize("function", [BUILDS, BUILDS | {"config": "get"}, BUILDS | {"config": "plot_model"}])
def test_what_builds_anything_is_no_activation(function: Any, saved: Any, tmp_path: Path) -> None:
    layer = {"module": "keras.layers", "class_name": "Activation", "config": {"activation": function, "name": "a"}}
    refused(
        ModelError,
        f"no part of Keras's models: {function['config']}.",
        source=with_layer_in(saved, tmp_path / "a.h5", layer),
    )


def test_files_are_not_given_to_a_keras_whose_safe_mode_is_not(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was given the file"))
    monkeypatch.setattr(keras, "__version__", "3.13.1")
    refused(
        MissingDependency, "Keras 3.13.2 or newer", "pip install --upgrade keras", source=saved.folder / "net.keras"
    )


def test_no_module_of_a_file_s_choice_is_imported(saved: Any, folder: Any) -> None:
    folder.write("gradsight_keras_sly", "import keras\nopen('ran', 'w').close()\nclass Sly(keras.Layer): pass")
    sys.path.insert(0, str(folder.path))
    with zipfile.ZipFile(saved.folder / "net.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"].insert(1, {"module": "gradsight_keras_sly", "class_name": "Sly", "config": {}})
    content = json.dumps(config).encode()
    path = altered(saved.folder / "net.keras", folder.path / "a.keras", "config.json", content)
    refused(ModelError, "not Keras 3's own: Sly.", source=path)
    assert not (folder.path / "ran").exists()


# Files of Keras 2


def in_old_words(value: Any) -> Any:
    """What Keras 2 wrote where Keras 3 writes something else."""
    if isinstance(value, list):
        return [in_old_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "DTypePolicy":
        return {"class_name": "Policy", "config": {"name": "float32"}}
    value = {key: in_old_words(item) for key, item in value.items()}
    config = value.get("config")
    if isinstance(config, dict):
        if kind == "DepthwiseConv2D":
            config |= {"groups": 1, "kernel_initializer": None, "kernel_regularizer": None, "kernel_constraint": None}
        if kind == "BatchNormalization":
            config["axis"] = [3]
            value["module"] = "keras.layers"
        if kind == "RandomFlip":
            config["rng_type"] = "stateful"
        if kind == "Functional":
            config |= {key: [config[key]] for key in ("input_layers", "output_layers")}
    return value


def test_a_model_of_keras_2_that_keras_3_cannot_read_as_it_is(tmp_path: Path) -> None:
    entry = keras.Input(SHAPE)
    features = L.BatchNormalization(name="norm")(L.DepthwiseConv2D(3, name="depth")(L.RandomFlip(name="flip")(entry)))
    inner = keras.Model(entry, features, name="features")
    model = keras.Sequential([keras.Input(SHAPE), inner, L.GlobalAveragePooling2D(), L.Dense(3)])
    inner.get_layer("norm").set_weights([np.float32([1, 2, 3])] * 4)
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = in_old_words(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = "2.15.0"
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError, AttributeError)):
        keras.saving.load_model(path, compile=False)
    assert_same(gs.load_model(path).model, model)
    assert path.read_bytes() == before


def test_groups_that_mean_something_are_not_dropped(saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    net(L.DepthwiseConv2D(3, name="depth")).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = next(x for x in config["config"]["layers"] if x["class_name"] == "DepthwiseConv2D")
        layer["config"]["groups"] = 3
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = "2.15.0"
    refused(ModelError, "cannot rebuild this file, saved by Keras 2.15.0,", "groups", source=path)


# Weights


def function_model(folder: Any, body: str, name: str = "gradsight_keras_net") -> str:
    folder.write(
        name,
        "import keras\nimport gradsight as gs\nfrom keras import layers as L\n"
        "def build():\n" + textwrap.indent(textwrap.dedent(body), "    "),
    )
    return f"{name}:build"


NET = f"""
return keras.Sequential([keras.Input({SHAPE}), L.Conv2D(4, 3, activation="relu", name="conv"),
    L.GlobalAveragePooling2D(name="pool"), L.Dense(3, activation="softmax", name="scores")], name="net")
"""


@pytest.mark.parametrize("name", ["net.weights.h5", "net.h5", "net.keras"])
def test_a_function_of_the_user_s_takes_weights(name: str, saved: Any, folder: Any) -> None:
    model, preprocess, labels = gs.load_model(function_model(folder, NET), weights=saved.folder / name)
    assert_same(model, saved.model)
    assert preprocess == Preprocess(SHAPE[:2], fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3, channels_last=True)
    assert labels is None


def test_a_function_may_give_preprocessing_and_labels(folder: Any) -> None:
    body = (
        NET.replace("return", "model =") + "return model, gs.Preprocess((16, 20), channels_last=True), ['a', 'b', 'c']"
    )
    _, preprocess, labels = gs.load_model(function_model(folder, body))
    assert (preprocess, labels) == (Preprocess((16, 20), channels_last=True), ("a", "b", "c"))
    forgotten = NET.replace("return", "model =") + "return model, gs.Preprocess((16, 20)), None"
    words = ("(16, 20, 3)", "one that makes (3, 16, 20)", "channels_last=True")
    refused(InvalidArgument, *words, source=function_model(folder, forgotten, "gradsight_keras_forgotten"))


def test_a_function_may_give_a_model_that_does_not_say_what_it_takes(folder: Any) -> None:
    body = """
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.scores = L.Dense(2)

        def call(self, x):
            return self.scores(keras.ops.mean(x, axis=(1, 2)))

    return Own()
    """
    spec = function_model(folder, body)
    assert gs.load_model(spec).preprocess == Preprocess(
        fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3, channels_last=True
    )
    (folder.path / "w.weights.h5").write_bytes(b"x")
    refused(ModelError, "weights cannot be read", source=spec, weights="w.weights.h5")


def test_weights_that_do_not_fit(saved: Any, folder: Any) -> None:
    spec = function_model(folder, NET)
    other = keras.Sequential([keras.Input(SHAPE), L.Conv2D(5, 3, name="conv"), L.GlobalAveragePooling2D(), L.Dense(3)])
    for name in ("other.weights.h5", "other.h5", "other.keras"):
        (other.save_weights if ".weights" in name else other.save)(folder.path / name)
        refused(ModelError, "weights must fit net", "Received", "very architecture", source=spec, weights=name)
    deeper = net()
    deeper.add(L.Dense(3, name="more"))
    deeper.save_weights(folder.path / "deeper.weights.h5")
    deeper.save(folder.path / "deeper.keras")
    for name in ("deeper.weights.h5", "deeper.keras"):
        words = ("weights must fit net", "2 of the file's arrays are not in it", "layers/dense_1/vars/0")
        refused(ModelError, *words, source=spec, weights=name)


def test_weights_of_a_model_that_was_trained(folder: Any) -> None:
    model = net(L.Dropout(0.5), L.BatchNormalization())
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((2, *SHAPE)), np.zeros((2, 3)), verbose=0)
    model.save_weights(folder.path / "w.weights.h5")
    with_norm = NET.replace("L.Conv2D(4", "L.Dropout(0.5), L.BatchNormalization(), L.Conv2D(4")
    with_norm = with_norm.replace("return", "model =") + "model.compile('adam')\nreturn model"
    assert_same(gs.load_model(function_model(folder, with_norm), weights="w.weights.h5").model, model)


def test_files_of_weights_that_are_none(saved: Any, folder: Any) -> None:
    spec = function_model(folder, NET)
    (folder.path / "empty.h5").touch()
    (folder.path / "text.keras").write_text("hello")
    (folder.path / "a.pt").write_text("hello")
    with h5py.File(folder.path / "data.h5", "w") as file:
        file["photos"] = np.zeros(3)
    refused(InvalidArgument, "no such file", source=spec, weights="nowhere.weights.h5")
    refused(InvalidArgument, "it is a folder", source=spec, weights=".")
    refused(InvalidArgument, ".weights.h5, .h5, .hdf5 or .keras", "save_weights", source=spec, weights="a.pt")
    refused(ModelError, "empty file", source=spec, weights="empty.h5")
    refused(ModelError, "damaged or of another kind", source=spec, weights="text.keras")
    refused(ModelError, "this HDF5 file holds none", source=spec, weights="data.h5")


def test_weights_under_the_name_of_the_other_format(saved: Any, folder: Any) -> None:
    spec = function_model(folder, NET)
    (folder.path / "new.h5").write_bytes((saved.folder / "net.weights.h5").read_bytes())
    (folder.path / "old.weights.h5").write_bytes((saved.folder / "net.h5").read_bytes())
    refused(InvalidArgument, "newer format", "must end in .weights.h5", "Rename it", source=spec, weights="new.h5")
    refused(InvalidArgument, "older format", "must end in .h5", "Rename it", source=spec, weights="old.weights.h5")


# Which Keras


def test_keras_2_is_told_apart(monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
    folder.write(
        "gradsight_keras_two",
        "Model = type('Model', (), {'__module__': 'tf_keras.src.engine.training'})\nmodel = Model()\nbuild = Model",
    )
    for name in ("model", "build"):
        words = ("Keras 2 or tf_keras", "must be of Keras 3", "--model model.h5")
        refused(InvalidType, *words, source=f"gradsight_keras_two:{name}")
    older = ModuleType("keras")
    older.__version__ = "2.15.0"
    monkeypatch.setitem(sys.modules, "keras", older)
    refused(MissingDependency, "Keras 2.15.0 is installed", "pip install --upgrade keras", source="keras:Xception")


@pytest.mark.parametrize(
    ("engine", "missing", "words"),
    [
        (
            ENGINE,
            ENGINE,
            (f"the backend {ENGINE!r}, which is missing", f"pip install {ENGINE}", "set KERAS_BACKEND to"),
        ),
        ("theano", "nothing", ("the backend 'theano'", "KERAS_BACKEND to one of: tensorflow, jax, torch")),
    ],
)
def test_an_engine_that_is_missing_is_one_line(engine: str, missing: str, words: Any, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png", "RGB")
    code = f"import sys; sys.modules[{missing!r}] = None; {MAIN}"
    arguments = ("explain", str(tmp_path / "photo.png"), "--model", "keras:Xception")
    done = process(*arguments, code=code, KERAS_BACKEND=engine)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
