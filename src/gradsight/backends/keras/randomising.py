"""A view whose layers have other weights than the model's, which stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import keras
import numpy as np

from gradsight.backends import randomising
from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.keras.view import View
from gradsight.foreign import Array, Module


def holders(view: View) -> list[str]:
    """The names of the layers that hold weights of their own; ``""`` for the model itself."""
    return [name for name, layer in {"": view.root, **view.layers}.items() if _weights(layer)]


def randomise(view: View, layers: Collection[str], seed: int) -> None:
    """Give layers of a view other weights; see `backends.randomising.randomised`.

    Args:
        view: it must be made for this alone, and nothing of it have run.
        layers: the names of layers that hold weights.
        seed: of the numbers.
    """
    others: dict[int, Array] = {}
    for name in layers:
        for number, weight in enumerate(_weights(view.layers[name] if name else view.root)):
            # Of weights that two layers share one draws.
            if id(weight) not in others:
                values = numpy_of(keras.ops.convert_to_tensor(weight))
                drawn = randomising.randomised(values, seed, f"{name}/{number}")
                others[id(weight)] = keras.Variable(drawn, dtype=weight.dtype, trainable=weight.trainable)
    for layer in (view.root, *view.layers.values()):
        space = layer.__dict__
        space.update({name: _replaced(value, others) for name, value in space.items() if name != "_modules"})
    view.variables[:] = [others.get(id(variable), variable) for variable in view.variables]


def _weights(layer: Module) -> list[Array]:
    """The weights that a layer learns itself, and none inside of it does."""
    held = vars(layer).get("_trainable_variables", ())
    return [weight for weight in held if is_floating(weight) and np.prod(weight.shape) > 0]


def _replaced(value: object, others: Mapping[int, Array]) -> object:
    """A value with other variables in the place of some, also of those in its lists and dicts."""
    if isinstance(value, keras.Variable):
        return others.get(id(value), value)
    # Those of the kinds that a view has copies of: others belong to the user's layers.
    if type(value) is list:
        return [_replaced(item, others) for item in value]
    if type(value) is dict:
        return {key: _replaced(item, others) for key, item in value.items()}
    return value
