"""Read what a ``.keras`` or ``.h5`` file is made of, and refuse what would run or read more than the file.

Keras builds a model from a description in JSON, and with ``safe_mode=True`` runs no Python code that the file carries.
That was not so in every release: ``.h5`` files ran their Lambda layers until Keras 3.11.3 (CVE-2025-9905), and a
description could name any importable function until 3.9 (CVE-2025-1550), functions of Keras that download files or end
the safe mode until 3.11 (CVE-2025-8747, CVE-2025-9906), and layers that unpickle (CVE-2025-49655) or read vocabularies
from anywhere. So the description is read here first, and a model is built only if each class in it is one of Keras's
own that does none of this, or one that the running program has registered itself.
"""

from __future__ import annotations

import importlib
import inspect
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gradsight.files import opened
from gradsight.models.claims.packed import Arrays, check_h5, parsed
from gradsight.models.keras.backend import import_keras

_RUN = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_READ = ("IndexLookup", "StringLookup", "IntegerLookup", "TextVectorization")
_PLAIN = (
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
    "__tuple__",
    "TensorShape",
)
_WEIGHTS = "model.weights.h5"
_OWN = re.compile(r"keras(\.\w+)*")
# where Keras looks for a class whose module a file of older Keras does not name
_PLACES = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies")
_KINDS = (
    "Operation",  # layers and models too
    "initializers.Initializer",
    "regularizers.Regularizer",
    "constraints.Constraint",
    "dtype_policies.DTypePolicy",
    "quantizers.Quantizer",
    "random.SeedGenerator",
    "optimizers.Optimizer",
    "optimizers.schedules.LearningRateSchedule",
    "losses.Loss",
    "metrics.Metric",
)


class Stored(NamedTuple):
    """The description of a model in a file.

    Attributes:
        config: as JSON gives it; None where the file has weights alone.
        version: of the Keras that saved it, such as ``"2.15.0"``; empty where the file does not say.
        arrays: what is stored beside it.
        rewritten: the config is not the file's any more, but says the same in the words of Keras 3.
    """

    config: Any
    version: str
    arrays: Arrays = Arrays()
    rewritten: bool = False


class Suspects(NamedTuple):
    """The classes in a description that are not known to be harmless."""

    running: list[str]
    reading: list[str]
    unknown: list[str]


def read_keras(path: Path) -> Stored:
    """Read the description in a ``.keras`` archive.

    Raises:
        Exception: of some kind, where the file is damaged or no such archive.
    """
    with opened(path, "a model") as file, zipfile.ZipFile(file) as archive:
        about = parsed(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
        config = parsed(archive.read("config.json"))
        return Stored(config, str(about.get("keras_version", "")), _weights(archive, path))


def _weights(archive: zipfile.ZipFile, path: Path) -> Arrays:
    """The arrays of the file inside that has the weights."""
    import h5py

    if _WEIGHTS not in archive.namelist():  # nothing, or arrays that Keras looks through by itself
        return Arrays(sum(member.file_size for member in archive.infolist()))
    with archive.open(_WEIGHTS) as inside, h5py.File(inside) as content:
        return check_h5(content, archive.getinfo(_WEIGHTS).file_size, path)


def read_h5(path: Path) -> Stored:
    """Read the description in an HDF5 file; its config is None where the file holds weights alone.

    Raises:
        LookupError: nothing in the file is Keras's.
        Exception: of some other kind, where the file is damaged or no HDF5.
    """
    import h5py

    with h5py.File(path) as file:
        arrays = check_h5(file, path.stat().st_size, path)
        text, version = (_text(file.attrs.get(name, "")) for name in ("model_config", "keras_version"))
        if text:
            return Stored(parsed(text), version, arrays)
        if any(name in file for name in ("layers", "_layer_checkpoint_dependencies")) or "layer_names" in file.attrs:
            return Stored(None, version, arrays)
        raise LookupError("it holds neither a Keras model nor weights")


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def suspects(config: Any) -> Suspects:
    """Look through a description.

    What the model was compiled with is left out: it is not loaded.
    """
    found = Suspects([], [], [])
    top = (
        {key: value for key, value in config.items() if key != "compile_config"} if isinstance(config, dict) else config
    )
    for item in _described(top):
        name, kind = str(item["class_name"]), _class(item)
        own = item["config"].get("name") if isinstance(item.get("config"), dict) else None
        title = f"{name} ({own})" if own else name
        if name == "__lambda__" or _is_one(name, kind, _RUN):
            found.running.append(title)
        elif _is_one(name, kind, _READ):
            found.reading.append(title)
        elif kind is None:
            found.unknown.append(str(item.get("config")) if name == "function" else name)
    return Suspects(*(list(dict.fromkeys(names)) for names in found))


def _described(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a description, whatever it is inside of."""
    if isinstance(value, dict):
        if "class_name" in value and value["class_name"] not in _PLAIN:
            yield value
        for inner in value.values():
            yield from _described(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _described(inner)


def _is_one(name: str, kind: Any, names: tuple[str, ...]) -> bool:
    layers = import_keras().layers
    known = tuple(getattr(layers, n) for n in names if hasattr(layers, n))
    return name in names or (isinstance(kind, type) and issubclass(kind, known))


def _class(item: dict[str, Any]) -> Any:
    """What builds a described object, if it is the program's own or a harmless kind of Keras's; else None."""
    keras = import_keras()
    name, module = str(item["class_name"]), item.get("module")
    registered = keras.saving.get_registered_object
    if name == "function":
        function = str(item.get("config"))
        return registered(function) or registered(str(item.get("registered_name"))) or _function(keras, function)
    own = registered(str(item.get("registered_name") or name))
    if own is not None:
        return own
    if module:
        found = _imported(str(module), name)
    else:
        places = [getattr(keras, place) for place in _PLACES if hasattr(keras, place)]
        found = next((getattr(place, name) for place in places if hasattr(place, name)), None)
        found = keras.Model if name == "Functional" else found
    return found if isinstance(found, type) and issubclass(found, _kinds(keras)) else None


def _function(keras: Any, name: str) -> Any:
    places = (keras.activations, keras.losses, keras.metrics, keras.initializers)
    found = next((getattr(place, name) for place in places if hasattr(place, name)), None)
    return found if inspect.isfunction(found) and name not in ("get", "serialize", "deserialize") else None


def _imported(module: str, name: str) -> Any:
    if not _OWN.fullmatch(module):
        return None
    try:
        return vars(importlib.import_module(module)).get(name)
    except ImportError:
        return None


def _kinds(keras: Any) -> tuple[type, ...]:
    found = []
    for path in _KINDS:
        value: Any = keras
        for part in path.split("."):
            value = getattr(value, part, None)
        if value is not None:
            found.append(value)
    return tuple(found)
