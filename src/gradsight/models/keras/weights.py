"""Files of weights for Keras models: arrays in HDF5, and nothing in them is executed."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

from gradsight.errors import GradsightError, InvalidArgument, ModelError, received
from gradsight.foreign import Module
from gradsight.models.claims.packed import Arrays, check_file, check_filled, check_h5
from gradsight.models.keras.backend import quiet, said

SUFFIXES = (".h5", ".hdf5", ".keras")
_SAME = "Build the very architecture that the file was saved from: --model package.module:function --weights FILE."
_ODD = {"c": "complex", "b": "bool"}
_BESIDE = ("optimizer", "compile_metrics", "metrics", "loss")  # what a model was trained with


def load_weights(model: Module, path: str | PathLike[str]) -> None:
    """Put the weights of a file into a Keras model: all of them, or an error.

    Args:
        model: a ``keras.Model`` that has its weights already; half loaded after an error.
        path: ``.weights.h5``; ``.h5`` or ``.hdf5`` of older Keras; or a whole model, ``.keras`` or ``.h5``, of which
            the weights are taken and nothing else is read.

    Raises:
        InvalidArgument: there is no such file, or not of that kind.
        ModelError: the file is damaged, holds no weights, or does not fit the model.
    """
    file = Path(path)
    check_file(file, "weights")
    if not str(file).endswith(SUFFIXES):  # Keras looks at the name too, and minds the case
        raise InvalidArgument(
            f"weights of a Keras model must be a .weights.h5, .h5, .hdf5 or .keras file. {received(str(path))} "
            "Save them so: model.save_weights('model.weights.h5')."
        )
    check_filled(file, "weights")
    stored, arrays = _stored(file)
    check_kinds(model, arrays, file)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model.load_weights(file)
    except Exception as error:  # ValueError mostly, AttributeError and KeyError where the file is of another model
        raise ModelError(f"weights must fit {model.name}: {said(error)}. {received(str(path))} {_SAME}") from error
    # Keras goes through the model, not through the file: what the file holds beyond it would be left out in silence.
    extra = sorted(stored - _own(model)) if stored else []
    if extra:
        few = ", ".join(extra[:3]) + (", ..." if len(extra) > 3 else "")
        raise ModelError(
            f"weights must fit {model.name}: {len(extra)} of the file's arrays are not in it ({few}). "
            f"{received(str(path))} {_SAME}"
        )


def check_kinds(model: Module, arrays: Arrays, path: Path) -> None:
    """See that stored weights are not of a kind of numbers that Keras would turn into another in silence.

    Raises:
        ModelError: they are complex or truth values, of which the model has none.
    """
    own = {str(getattr(value, "dtype", "")) for value in model.variables}
    found = [name for kind, name in _ODD.items() if kind in arrays.kinds and not any(x.startswith(name) for x in own)]
    if found:
        raise ModelError(
            f"weights must be of the model's kind of numbers, and some of this file are {' and '.join(found)}. "
            f"{received(str(path))} Save them again from the trained model."
        )


def _stored(file: Path) -> tuple[set[str], Arrays]:
    """The names of a file's arrays and what they are; no names of the older format, where Keras counts by itself."""
    import h5py

    try:
        if file.suffix == ".keras":
            with (
                zipfile.ZipFile(file) as archive,
                archive.open("model.weights.h5") as inside,
                h5py.File(inside) as saved,
            ):
                return _arrays(saved), check_h5(saved, archive.getinfo("model.weights.h5").file_size, file)
        with h5py.File(file) as content:
            arrays = check_h5(content, file.stat().st_size, file)
            older = "layer_names" in content.attrs or "layer_names0" in content.attrs or "model_weights" in content
            _check_name(file, content, older=older)
            return set() if older else _arrays(content), arrays
    except GradsightError:
        raise
    except Exception as error:  # damaged bytes end in almost any exception
        raise ModelError(
            f"weights cannot be read, the file is damaged or of another kind: {said(error)}. {received(str(file))} "
            "Give a file saved by model.save_weights('model.weights.h5')."
        ) from error


def _check_name(file: Path, content: Any, *, older: bool) -> None:
    """See that the name says the format: Keras goes by it, and finds nothing where it is the other."""
    newer = not older and any(name in content for name in ("layers", "_layer_checkpoint_dependencies", "vars"))
    if not older and not newer:
        raise ModelError(
            f"weights must be those of a Keras model, and this HDF5 file holds none. {received(str(file))} "
            "Give a file saved by model.save_weights('model.weights.h5')."
        )
    ending = ".h5" if older else ".weights.h5"
    if newer != str(file).endswith(".weights.h5"):
        age = "older" if older else "newer"
        raise InvalidArgument(
            f"weights: this file is in Keras's {age} format, whose name must end in {ending} and not in "
            f"{'.weights.h5' if older else file.suffix}. {received(str(file))} Rename it."
        )


def _own(model: Module) -> set[str]:
    """The names of the arrays that a model itself would save."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "own.weights.h5")
        model.save_weights(file)
        with h5py.File(file) as content:
            return _arrays(content)


def _arrays(content: Any) -> set[str]:
    import h5py

    names: list[str] = []
    content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return {name for name in names if name.partition("/")[0] not in _BESIDE}
