"""A model that the user's own function builds."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradsight.contracts import LoadedModel
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, ModelError, received, unknown
from gradsight.imaging import Preprocess
from gradsight.models.weights import load_weights
from gradsight.registry import SOURCES, source

_RETURNS = "Return the torch.nn.Module, (model, preprocess, labels), or a LoadedModel."


@source(
    "function",
    title="a function of yours that returns the model",
    example="package.module:function",
    packages=("torch",),
    install="pip install 'gradsight[torch]'",
)
def function(name: str, *, weights: str | None = None) -> LoadedModel:
    """Call ``package.module:function`` without arguments and take the model that it returns.

    The module is looked for in the current folder first, then among the installed packages. A bare module gets
    ImageNet's usual preprocessing (`Preprocess()`) and no labels.

    Args:
        name: ``package.module:function``; the function may also be the module itself.
        weights: a file of weights for the model.

    Raises:
        InvalidArgument: the name is not of that form, or there is no such file of weights.
        UnknownName: there is no such module, or nothing of that name in it.
        InvalidType: the function returned something else.
        ModelError: importing the module or calling the function failed, or the weights do not fit.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise InvalidArgument(f"model must be package.module:function. {received(name)} Pass 'my_models:build'.")
    with _current_folder_first():
        made = _call(_attribute(_import(module_name, name), attribute), name)
    loaded = _loaded(made, name)
    if weights is not None:
        load_weights(loaded.model, weights)
    loaded.model.eval()
    return loaded


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let modules be found in the current folder.

    While the user's module is imported and called the folder comes first, as with ``python -m``. Afterwards it stays,
    since that module may import more when the model runs, but last: a stray ``json.py`` there must not shadow an
    installed package that something else imports later.
    """
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.path.append(folder)


def _import(module_name: str, name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            here = {path.stem for path in Path.cwd().glob("*.py")}
            raise unknown(
                "module",
                missing,
                sorted(here | set(SOURCES)),
                "It was looked for in the current folder and among the installed packages; "
                "`gradsight models` lists the sources that have a name.",
            ) from error
        raise ModelError(f"model {name!r}: importing its module failed. {_text(error)}") from error
    except Exception as error:
        raise ModelError(f"model {name!r}: importing its module failed. {_text(error)}") from error


def _attribute(module: Any, attribute: str) -> Any:
    try:
        found = getattr(module, attribute)
    except AttributeError:
        public = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise unknown("function", attribute, sorted(public), f"It was looked for in {module.__name__}.") from None
    if not callable(found):
        raise InvalidType(f"{module.__name__}:{attribute} must be a function. {received(found)} {_RETURNS}")
    return found


def _call(found: Any, name: str) -> Any:
    if _is_model(found):
        return found
    try:
        return found()
    except GradsightError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {name!r}: the function failed when called without arguments. {_text(error)}"
        ) from error


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _is_model(value: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever made a module has loaded it
    return torch is not None and isinstance(value, torch.nn.Module)


def _loaded(made: Any, name: str) -> LoadedModel:
    parts = made if isinstance(made, tuple) else (made,)
    if not 1 <= len(parts) <= 3 or not _is_model(parts[0]):
        raise InvalidType(f"model {name!r}: the function must return a model. {received(made)} {_RETURNS}")
    model, preprocess, labels = (*parts, None, None)[:3]
    if preprocess is not None and not callable(preprocess):
        raise InvalidType(f"model {name!r}: its preprocess must be callable. {received(preprocess)} {_RETURNS}")
    if labels is not None:
        if isinstance(labels, str) or not isinstance(labels, Sequence) or not all(isinstance(x, str) for x in labels):
            raise InvalidType(f"model {name!r}: its labels must be a sequence of names. {received(labels)} {_RETURNS}")
        labels = tuple(labels)
    return LoadedModel(model, Preprocess() if preprocess is None else preprocess, labels)
