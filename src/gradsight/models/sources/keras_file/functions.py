"""The functions that the description of a Keras model names: only those may be called that a model is made of.

With ``safe_mode=True`` Keras 3.13.2 and newer refuse by themselves whatever else runs or reads more than the file:
Lambda layers, marshalled code, pickled modules, saved models of TensorFlow, vocabularies, classes of other packages.
But a description may name any public function of Keras's that is not on its list of bad ones, and a layer calls what it
is given as an activation: ``keras.distribution.set_distribution`` changes every model that is built in this process
afterwards. So here it is the other way round: what is not known to be a part of models is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType

from gradsight.models.keras.backend import import_keras
from gradsight.models.sources.keras_file.description import Json

_PARTS = ("activations", "losses", "metrics", "initializers")
_BUILDERS = ("get", "serialize", "deserialize")  # of each of these; what they are given decides what they make


def foreign_functions(config: Json) -> list[str]:
    """The functions in a description that are no parts of models, and that the running program has not registered.

    What the model was compiled with is left out: it is not loaded.
    """
    keras = import_keras()
    top = (
        {key: value for key, value in config.items() if key != "compile_config"} if isinstance(config, dict) else config
    )
    names = [name for item in _objects(top) if (name := _function(keras, item)) is not None]
    return list(dict.fromkeys(names))


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    """Every object in a description, whatever it is inside of."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _function(keras: ModuleType, item: dict[str, Json]) -> str | None:
    """The name of a foreign function that an object stands for; None where it is none."""
    registered = keras.saving.get_registered_object
    if item["class_name"] == "function":
        name = str(item.get("config"))
        known = registered(name) or registered(str(item.get("registered_name")))
        return None if known is not None or _is_part(keras, name) else name
    name = str(item["class_name"])
    # Keras looks under this very name, and gives a function that is there uncalled, to whoever calls it
    return name if inspect.isroutine(_public(keras, str(item.get("module")), name)) else None


def _is_part(keras: ModuleType, name: str) -> bool:
    values = [getattr(getattr(keras, part), name, None) for part in _PARTS]
    return name not in _BUILDERS and any(inspect.isfunction(value) for value in values)


def _public(keras: ModuleType, module: str, name: str) -> object:
    value: object = keras
    for part in [*module.split(".")[1:], name]:
        value = getattr(value, part, None)
    return value
