"""Whole Keras models from files: ``.keras``, and ``.h5`` or ``.hdf5`` of any Keras."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, ModelError, received
from gradsight.files import opened
from gradsight.foreign import Module
from gradsight.models.claims.bounds import check_input, told
from gradsight.models.claims.packed import check_filled
from gradsight.models.formats import file_format
from gradsight.models.keras.backend import import_keras, quiet, said
from gradsight.models.keras.inputs import photos_of, preprocess_of
from gradsight.models.keras.weights import check_kinds
from gradsight.models.model import Model
from gradsight.models.sources.keras_file.bounded import bounded_variables
from gradsight.models.sources.keras_file.description import Stored, read_h5, read_keras
from gradsight.models.sources.keras_file.functions import foreign_functions
from gradsight.models.sources.keras_file.older import in_words_of_keras_3, readable

SUFFIXES = (".keras", ".h5", ".hdf5")
_AGAIN = "Save the model again: model.save('model.keras')."
_FUNCTION = "and pass that function: --model package.module:function."
_TRUST = (
    "If you trust where it comes from, load it in a function of yours, "
    f"keras.saving.load_model(path, safe_mode=False), {_FUNCTION}"
)
_OPERATIONS = "Operations of Keras's or TensorFlow's own are kept by .keras files only."
# What Keras 3.13.2 and 3.15 say
_REFUSED = re.compile(r"Requested the (?:deserialization|loading) of [^.,]*")
_UNKNOWN = re.compile(r"(?:Could not (?:locate|deserialize)(?: class| function)?|Unknown \w+:) '([\w.>]+)'")
_SAFE = (3, 13, 2)
"""The first Keras whose safe mode refuses all that is known to run code or to read other files."""


@file_format(*SUFFIXES)
def load(path: Path) -> Model:
    """Load a model that Keras saved as one file.

    Its preprocessing is guessed (`preprocess_of`), since no file says it, and its classes have no names.

    Args:
        path: the file, which is there.

    Raises:
        InvalidArgument: the file holds weights alone, or does not end in ``.keras``, ``.h5`` or ``.hdf5`` as such.
        MissingDependency: Keras 3 or its backend is not installed.
        ModelError: the file is damaged, would run code, needs classes that are not Keras's, or cannot be rebuilt.
    """
    # formats are found in any case of letters, and Keras would call "A.KERAS" unknown
    if path.suffix not in SUFFIXES:
        raise InvalidArgument(
            f"model: Keras reads a file by how its name ends, in lower case. {received(str(path))} "
            f"Rename it to end in {path.suffix.lower()}."
        )
    check_filled(path, "model")
    keras = import_keras()
    # what older ones run is run while they read, so nothing may be read before
    _check_version(keras)
    with told("model: what is in the file cannot be used", f"{received(str(path))} {_AGAIN}"):
        stored = _described(path)
        _refuse(path, stored)
        model = _loaded(keras, path, stored)
        check_kinds(model, stored.arrays, path)
        takes = photos_of(model)
        if takes is not None:
            check_input(takes[:3], str(path))
        return Model(model, preprocess_of(model), None)


def _check_version(keras: ModuleType) -> None:
    if tuple(int(part) for part in re.findall(r"\d+", keras.__version__)[:3]) < _SAFE:
        raise MissingDependency(
            f"Files of Keras models need Keras {'.'.join(map(str, _SAFE))} or newer, and {keras.__version__} is "
            "installed: older ones may run code that is in a file. Run: pip install --upgrade keras"
        )


def _described(path: Path) -> Stored:
    try:
        stored = read_keras(path) if path.suffix == ".keras" else read_h5(path)
    except GradsightError:
        raise
    except Exception as error:  # damaged bytes end in almost any exception
        with opened(path, "a model") as file:
            torch = path.suffix != ".keras" and file.read(2) in (b"PK", b"\x80\x02")
        hint = "It looks like a file of PyTorch's: let its name end in .pt." if torch else _AGAIN
        raise ModelError(
            f"model: the {path.suffix} file is no Keras model, or damaged: {said(error)}. {received(str(path))} {hint}"
        ) from error
    if stored.config is None:
        raise InvalidArgument(
            f"model: this file holds weights and no architecture. {received(str(path))} Name both: "
            f"--model keras:NAME --weights {path}, or --model package.module:function --weights {path}"
        )
    return stored if path.suffix == ".keras" else in_words_of_keras_3(stored)


def _refuse(path: Path, stored: Stored) -> None:
    """Refuse what Keras must not be given."""
    if path.suffix == ".keras" and stored.version.startswith("2."):
        raise ModelError(
            f"model: this .keras file was saved by Keras {stored.version}, of which Keras 3 reads .h5 files only. "
            f"{received(str(path))} Load it with that Keras and save it again: model.save('model.h5')."
        )
    functions = foreign_functions(stored.config)
    if functions:
        raise ModelError(
            f"model: this file names a function that is no part of Keras's models: {_few(functions)}. Nothing of it "
            f"was run. {received(str(path))} {_register(path)}"
        )


def _few(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _loaded(keras: ModuleType, path: Path, stored: Stored) -> Module:
    try:
        with quiet(), readable(path, stored) as file, bounded_variables(keras, stored.arrays.values, path):
            return keras.saving.load_model(file, compile=False, safe_mode=True)
    except GradsightError:
        raise
    except Exception as error:  # what Keras cannot rebuild ends in almost any exception
        raise _failed(keras, path, stored, error) from error


def _register(path: Path) -> str:
    beside = "" if path.suffix == ".keras" else f" {_OPERATIONS}"
    return (
        "Write a function that registers it (@keras.saving.register_keras_serializable()) and returns "
        f"keras.saving.load_model(path), {_FUNCTION}{beside}"
    )


def _failed(keras: ModuleType, path: Path, stored: Stored, error: Exception) -> ModelError:
    """Keras's refusal or failure in our words, by what it says itself."""
    if "safe_mode=False" in str(error):  # each of its refusals says how to do without it
        what = _REFUSED.search(str(error))
        return ModelError(
            f"model: this file would run code, or read other files, when it is loaded"
            f"{f': {what[0][:160]}' if what else ''}. Nothing of it was run. {received(str(path))} {_TRUST}"
        )
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        return ModelError(
            f"model: this file needs what is not Keras 3's own: {unknown[1][:80]}. {received(str(path))} "
            f"{_register(path)}"
        )
    saved = f", saved by Keras {stored.version}," if stored.version else ""
    return ModelError(
        f"model: Keras {keras.__version__} cannot rebuild this file{saved} or it is damaged: {said(error)}. "
        f"{received(str(path))} Build the model in a function and load its weights there, {_FUNCTION}"
    )
