"""What a Keras model takes, and a preprocessing that makes it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, NamedTuple

from gradsight.errors import InvalidArgument
from gradsight.foreign import Module
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.keras.families import family_of

_SCALES = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")
_RAW = {"mean": 0.0, "std": 1 / 255}  # 0..255
_SIGNED = {"mean": 0.5, "std": 0.5}  # [-1, 1]


class Input(NamedTuple):
    """The photos that a model takes; None for a side of any length."""

    height: int | None
    width: int | None
    channels: int
    channels_last: bool


def photos_of(model: Module) -> Input | None:
    """What a Keras model takes, where it says so and it is a batch of photos."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or isinstance(shape[0], tuple):
        return None
    last, first = shape[3] in (1, 3), shape[1] in (1, 3)
    if not last and not first:
        return None
    # Where both ends may be channels, as of (1, 28, 3), Keras's setting decides.
    if last and (not first or _default_is_channels_last()):
        return Input(shape[1], shape[2], shape[3], True)
    return Input(shape[2], shape[3], shape[1], False)


def preprocess_of(model: Module) -> Preprocess | None:
    """A preprocessing for a Keras model that came without one.

    The size and the number of channels are the model's (224 where it takes any); the photo is squashed to that size,
    as Keras's own readers of folders do. Nothing in a model says which values it wants, so they are guessed:

    - a model that begins with a ``Rescaling`` or ``Normalization`` layer, or with arithmetic, gets 0..255;
    - one that is, or begins with, a network which has the name of one of `keras.applications` gets what that family's
      ``preprocess_input`` makes;
    - any other gets [-1, 1].

    Returns:
        None where the model takes something else than a batch of photos. A model that does not say what it takes gets
        photos of 224 x 224. All but a size that the model fixes is marked as assumed.
    """
    takes = photos_of(model)
    if takes is None:
        if getattr(model, "input_shape", None) is not None:
            return None
        takes = Input(None, None, 3, _default_is_channels_last())
    beginning = _beginning(model)
    function = None if beginning else family_of(_named(model))
    values = _RAW if beginning else _SIGNED
    return Preprocess(
        size=(takes.height or 224, takes.width or 224),
        fit="squash",
        mean=(values["mean"],) * takes.channels,
        std=(values["std"],) * takes.channels,
        channels_last=takes.channels_last,
        function=function,
        assumed=PARTS[1:] if takes.height and takes.width else PARTS,
    )


def check_fits(model: Module, preprocess: Preprocess) -> None:
    """See that a preprocessing makes what the model takes: Keras models are strict about it.

    Raises:
        InvalidArgument: it makes another size, other channels, or another order of the axes.
    """
    takes = photos_of(model)
    if takes is None:
        return
    if preprocess.fit in ("keep", "none"):  # its pictures have no one size
        preprocess = replace(preprocess, size=(takes.height or 1, takes.width or 1))
    size = (takes.height or preprocess.size[0], takes.width or preprocess.size[1])
    channels = len(preprocess.mean) if preprocess.function is None else takes.channels
    wanted = _shape(size, takes.channels, takes.channels_last)
    made = _shape(preprocess.size, channels, preprocess.channels_last)
    if made != wanted:
        order = "channels_last=True" if takes.channels_last else "channels_last=False"
        raise InvalidArgument(
            f"preprocess must make what the model takes, arrays of shape {wanted}. Received: one that makes {made}. "
            f"Leave size, mean and std to the model, or give size {size[0]}x{size[1]} and {takes.channels} value(s) of "
            f"mean and std; a gs.Preprocess of your own also needs {order}."
        )


def _shape(size: tuple[int, int], channels: int, channels_last: bool) -> tuple[int, ...]:
    return (*size, channels) if channels_last else (channels, *size)


def _default_is_channels_last() -> bool:
    return bool(sys.modules["keras"].config.image_data_format() == "channels_last")


def _beginning(model: Module) -> bool:
    """Whether the model itself scales its pictures, before the first layer that has learned something."""
    for step in _steps(model):
        if type(step).__name__ in _SCALES:
            return True
        if getattr(step, "weights", None):
            return False
    return False


def _named(model: Module) -> list[str]:
    """The names of the model and of the models in it that come before the first layer with weights of its own."""
    names = [model.name]
    for step in _operations(model):
        if _operations(step):
            return [*names, *_named(step)]
        if getattr(step, "weights", None):
            break
    return names


def _steps(model: Module) -> list[Any]:
    """The layers and operations of a model in their order, those of models inside of it in their place."""
    found = []
    for step in _operations(model):
        found += _steps(step) if _operations(step) else [step]
    return found


def _operations(model: Module) -> list[Any]:
    """The layers and, in a graph, the operations that are no layers."""
    return list(getattr(model, "operations", None) or getattr(model, "layers", None) or [])
