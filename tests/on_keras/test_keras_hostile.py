"""Files of Keras models that claim what nobody has, hold far more than they are, or hold what is no weights."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L

import claims
import gradsight as gs
from gradsight import limits
from gradsight.errors import InvalidArgument, ModelError
from gradsight.models.keras.weights import load_weights

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LIMIT_S = 30.0
refused = functools.partial(claims.refused, kind=ModelError, limit=LIMIT_S)


def net(side: int | None = 16) -> Any:
    tail = [L.Conv2D(4, 3, name="conv"), L.GlobalAveragePooling2D(name="pool"), L.Dense(3, name="scores")]
    return keras.Sequential([keras.Input((side, side, 3)), *tail], name="net")


def saved(path: Path, change: Callable[[Any], Any] = lambda config: config) -> Path:
    """A model in a file, with its description changed."""
    net().save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            file.attrs["model_config"] = json.dumps(change(config)).encode()
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_layer(place: int, **values: Any) -> Callable[[Any], Any]:
    def change(config: Any) -> Any:
        config["config"]["layers"][place]["config"] |= values
        return config

    return change


DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "wide", "units": 4 * 10**7}}


def with_dense(config: Any) -> Any:
    config["config"]["layers"].insert(3, DENSE)
    return config


CLAIMS: dict[str, Callable[[Any], Any]] = {
    "classes": with_layer(3, units=3 * 10**8),
    "channels": with_layer(1, filters=10**8),
    "kernel": with_layer(1, kernel_size=[9000, 9000], padding="same"),
    "a layer more": with_dense,
}


@pytest.mark.parametrize("what", list(CLAIMS))
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_description_that_asks_for_more_weights_than_are_stored(what: str, suffix: str, tmp_path: Path) -> None:
    before = keras.Variable.__init__
    path = saved(tmp_path / f"a{suffix}", CLAIMS[what])
    refused(lambda: gs.load_model(path), "asks for", "the file stores 127" if suffix == ".keras" else "the file stores")
    assert keras.Variable.__init__ is before


def test_other_threads_make_what_they_like_meanwhile(tmp_path: Path) -> None:
    path, made, stop = saved(tmp_path / "a.keras", CLAIMS["classes"]), [], threading.Event()

    def busy() -> None:
        while not stop.is_set():
            made.append(keras.Variable(np.zeros((2000, 3000), np.float32)).shape)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        began = time.monotonic()
        while len(made) < 3 and time.monotonic() - began < LIMIT_S:
            refused(lambda: gs.load_model(path), "asks for 1,200,000,112 weights")
    finally:
        stop.set()
        thread.join()
    assert len(made) >= 3


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("side", [14_000, 10**6])
def test_an_input_that_nobody_has(side: int, suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{suffix}", with_layer(0, batch_shape=[None, side, side, 3]))
    refused(lambda: gs.load_model(path), "GRADSIGHT_MAX_INPUT_VALUES")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_deep_descriptions_end_in_words(suffix: str, tmp_path: Path) -> None:
    def deep(config: Any) -> Any:
        for _ in range(300):
            config = {"class_name": "Sequential", "config": {"layers": [config]}}
        return config

    refused(lambda: gs.load_model(saved(tmp_path / f"a{suffix}", deep)), "levels")


def member(path: Path, name: str, content: bytes) -> Path:
    """A copy of an archive with one member replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {x: archive.read(x) for x in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for x, old in (members | {name: content}).items():
            archive.writestr(x, content if x == name else old)
    return path


def spoiled(path: Path, spoil: Callable[[Any], None]) -> Path:
    """A file with the arrays in it changed, wherever they are."""
    if path.suffix != ".keras":
        with h5py.File(path, "r+") as file:
            spoil(file)
        return path
    inner = path.with_name("inner.h5")
    with zipfile.ZipFile(path) as archive:
        inner.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(inner, "r+") as file:
        spoil(file)
    return member(path, "model.weights.h5", inner.read_bytes())


def first_array(file: Any) -> str:
    found: list[str] = []
    file.visititems(
        lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim == 4 else None
    )
    return found[0]


def empty(file: Any) -> None:
    file.create_dataset("zeros", (10**9,), "f4", chunks=(10**6,))


def linked(file: Any) -> None:
    name = first_array(file)
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "x")


def outside(file: Any) -> None:
    name = first_array(file)
    del file[name]
    file.create_dataset(name, (3, 3, 3, 4), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def complex_(file: Any) -> None:
    name = first_array(file)
    value = file[name][()]
    del file[name]
    file[name] = value.astype(np.complex64)


def truth(file: Any) -> None:
    name = first_array(file)
    value = file[name][()]
    del file[name]
    file[name] = value > 0


SPOILED = {
    "claims to hold": empty,
    "read other files": linked,
    "would read other": outside,
    "complex": complex_,
    "bool": truth,
}


@pytest.mark.parametrize("word", list(SPOILED))
@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_arrays_that_are_no_weights_of_this_file(name: str, word: str, tmp_path: Path) -> None:
    model, path = net(), tmp_path / name
    model.save_weights(path) if "weights" in name else model.save(path)
    spoiled(path, SPOILED[word])
    if "weights" not in name:
        refused(lambda: gs.load_model(path), word)
    refused(lambda: load_weights(net(), path), word)


def test_an_archive_that_unpacks_to_far_more_is_refused_before_it_is(tmp_path: Path) -> None:
    path = member(saved(tmp_path / "a.keras"), "assets/zeros", bytes(300 * 10**6))
    refused(lambda: gs.load_model(path), "claims to hold", "GRADSIGHT_MAX_UNPACKED_BYTES")
    refused(lambda: load_weights(net(), path), "claims to hold", "GRADSIGHT_MAX_UNPACKED_BYTES")


def test_what_a_model_has_is_loaded_whatever_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (limits.UNPACKED_BYTES, limits.PARAMETERS, limits.PARTS):
        monkeypatch.setattr(limit, "value", 1)
    for suffix in (".keras", ".h5"):
        assert gs.load_model(saved(tmp_path / f"a{suffix}")).model.count_params() == 127


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_paths_that_are_no_file(suffix: str, tmp_path: Path) -> None:
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    for path in (pipe, Path("a" * 300 + suffix), Path(f"a\0{suffix}")):
        refused(lambda path=path: gs.load_model(f"file:{path}"), "model must be a file", kind=InvalidArgument)
        refused(lambda path=path: load_weights(net(), path), "weights must be a file", kind=InvalidArgument)
