"""Keras 3 and its backend: imported when a model needs them, and told apart from Keras 2."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from gradsight.errors import MissingDependency
from gradsight.foreign import Module

INSTALL = "pip install 'gradsight[keras]'"
_BACKENDS = ("tensorflow", "jax", "torch")
_KERAS_2 = ("tf_keras.", "keras.engine.", "keras.src.engine.", "tensorflow.python.keras.")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def import_keras() -> ModuleType:
    """Import Keras, on the backend that the user chose.

    Raises:
        MissingDependency: Keras or its backend is not installed, or it is not Keras 3.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow tells about its build otherwise
    try:
        with quiet():
            keras = importlib.import_module("keras")
    except (ImportError, ValueError) as error:  # ValueError: KERAS_BACKEND is none of Keras's
        raise _missing(error) from error
    if not hasattr(keras, "Layer"):  # Keras 2 has it in keras.layers only
        raise MissingDependency(
            f"Keras models need Keras 3, and Keras {getattr(keras, '__version__', '2')} is installed. "
            "Run: pip install --upgrade keras"
        )
    # Keras has others, such as openvino, that take no gradients.
    if keras.config.backend() not in _BACKENDS:
        raise _unknown_backend(keras.config.backend())
    return keras


def _missing(error: Exception) -> MissingDependency:
    name = keras_backend()
    lacking = (getattr(error, "name", None) or "").partition(".")[0]
    if lacking == "keras":
        return MissingDependency(f"Keras models need a package that is missing: {said(error)}. Run: {INSTALL}")
    if name not in _BACKENDS:
        return _unknown_backend(name)
    return MissingDependency(
        f"Keras is set to the backend {name!r}, which is missing or does not work: {said(error)}. "
        f"Run: pip install {name}, or set KERAS_BACKEND to an installed one of: {', '.join(_BACKENDS)}."
    )


def _unknown_backend(name: str) -> MissingDependency:
    return MissingDependency(
        f"Keras is set to the backend {name!r} (KERAS_BACKEND, or keras.json), on which gradsight does not run. Set "
        f"KERAS_BACKEND to one of: {', '.join(_BACKENDS)}."
    )


def keras_backend() -> str:
    """The backend that Keras takes when it is imported: KERAS_BACKEND, else keras.json's, else TensorFlow."""
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen:
        return chosen
    folder = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        return str(json.loads(Path(folder, "keras.json").read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, LookupError, TypeError):
        return "tensorflow"


@contextmanager
def quiet() -> Iterator[None]:
    """Send what Keras prints, such as the progress of a download, to stderr: stdout is for results."""
    with redirect_stdout(sys.stderr):
        yield


def said(error: BaseException, limit: int = 300) -> str:
    """An error of Keras's as one line without colour codes and without its last full stop."""
    text = " ".join(_ANSI.sub("", str(error)).split()) or type(error).__name__
    return text[:limit].rstrip(".")


def is_keras(model: Module) -> bool:
    """Whether a model is Keras 3's; on its torch backend it is a torch module too."""
    layer = getattr(sys.modules.get("keras"), "Layer", None)  # whoever made a model has loaded it
    return layer is not None and isinstance(model, layer)


def is_keras_2(model: Module) -> bool:
    """Whether a model is of Keras 2, or of tf_keras, which is Keras 2 under its later name."""
    modules = [base.__module__ for base in type(model).__mro__]
    return any(name.startswith(_KERAS_2) for name in modules)
