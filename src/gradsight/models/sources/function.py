"""A model that the user's own function builds."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.imaging import PARTS, Preprocess
from gradsight.models import weights as torch_weights
from gradsight.models.importing import current_folder_first, find
from gradsight.models.keras import weights as keras_weights
from gradsight.models.keras.backend import is_keras, is_keras_2
from gradsight.models.keras.inputs import preprocess_of
from gradsight.models.model import Model
from gradsight.models.users import held_back_usage, users
from gradsight.registry import source
from gradsight.targets import as_labels

_RETURNS = "Return the torch.nn.Module or keras.Model, (model, preprocess, labels), or a Model."


@source("function", title="a function of yours that returns the model", example="package.module:function")
def function(name: str, *, weights: str | None = None, arguments: Mapping[str, Any] | None = None) -> Model:
    """Call ``package.module:function`` and take the model that it returns.

    The module is looked for in the current folder first, then among the installed packages. A bare PyTorch model gets
    ImageNet's usual preprocessing (`Preprocess()`), a bare Keras model what `preprocess_of` guesses, either marked as
    assumed, and neither gets labels.

    Args:
        name: ``package.module:function``; the function may also be the model itself.
        weights: a file of weights for the model.
        arguments: keyword arguments of the function. Where there are none and it is a LightningModule's class, those
            that its checkpoint was saved with (``save_hyperparameters``) are taken from ``weights``.

    Raises:
        InvalidArgument: the name is not of that form, the function does not take the arguments, or there is no such
            file of weights.
        UnknownName: there is no such module, or nothing of that name in it.
        InvalidType: the function returned something else.
        ModelError: importing the module or calling the function failed, or the weights do not fit.
    """
    with current_folder_first():
        found = find(name, "model")
        if not arguments and weights is not None and _is_lightning(found):
            # as Lightning's own load_from_checkpoint does
            arguments = torch_weights.hyperparameters(weights)
        made = _call(found, name, arguments or {})
    # a user's class may fail at anything that is asked of it, even at its length
    with users(f"model {name!r}: what its function returned cannot be used"):
        loaded = _loaded(made, name)
        keras = is_keras(loaded.model)  # which is told in each call whether it trains
        if weights is not None:
            (keras_weights if keras else torch_weights).load_weights(loaded.model, weights)
        if not keras:
            loaded.model.eval()
    return loaded


def _call(found: Callable[..., object], name: str, arguments: Mapping[str, Any]) -> object:
    if _is_model(found) or is_keras_2(found):
        if arguments:
            raise InvalidArgument(f"arguments need a function, and {name!r} is a model. {received(dict(arguments))}")
        return found
    given = f"with {', '.join(arguments)}" if arguments else "without arguments"
    with users(f"model {name!r}: the function failed when called {given}"):
        _check_arguments(found, name, arguments)
        with held_back_usage():
            return found(**arguments)


def _check_arguments(found: Callable[..., object], name: str, arguments: Mapping[str, Any]) -> None:
    """Say which arguments a function does not take, or lacks, before its own TypeError does."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # a builtin tells nothing
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        takes = ", ".join(map(str, signature.parameters.values())) or "none"
        raise InvalidArgument(
            f"model {name!r}: its arguments do not fit: {error}. It takes: {takes}. {received(dict(arguments))} "
            "Give each with --arg name=value (arguments={...} in Python)."
        ) from error


def _is_lightning(found: object) -> bool:
    return isinstance(found, type) and any(base.__name__ == "LightningModule" for base in found.__mro__)


def _is_model(value: object) -> bool:
    torch = sys.modules.get("torch")  # whoever made a module has loaded it
    return is_keras(value) or (torch is not None and isinstance(value, torch.nn.Module))


def _loaded(made: object, name: str) -> Model:
    given = made if isinstance(made, Model) else Model(None)
    parts = tuple(made) if isinstance(made, tuple | Model) else (made,)
    if parts and is_keras_2(parts[0]):
        raise InvalidType(
            f"model {name!r}: its model is of Keras 2 or tf_keras, and must be of Keras 3. {received(parts[0])} Save "
            "it with that Keras, model.save('model.h5'), and pass the file: --model model.h5."
        )
    if not 1 <= len(parts) <= 3 or not _is_model(parts[0]):
        raise InvalidType(f"model {name!r}: the function must return a model. {received(made)} {_RETURNS}")
    model, preprocess, labels = (*parts, None, None)[:3]
    if preprocess is not None and not callable(preprocess):
        raise InvalidType(f"model {name!r}: its preprocess must be callable. {received(preprocess)} {_RETURNS}")
    if labels is not None:
        labels = as_labels(labels, f"model {name!r}: its labels")
    if preprocess is None:
        preprocess = preprocess_of(model) if is_keras(model) else Preprocess(assumed=PARTS)
    return replace(given, model=model, preprocess=preprocess, labels=labels)
