"""The networks of ``keras.applications``, and what each family of them makes of a picture."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial

from gradsight.errors import unknown
from gradsight.foreign import Array, Module
from gradsight.models.keras.backend import import_keras

Function = Callable[[Array], Array]
"""From pixels in 0..255, (h, w, 3), to what a family's networks take."""

Builder = Callable[..., Module]
"""What builds a network."""


def builders() -> dict[str, Builder]:
    """The functions that build the networks which the installed Keras has, by name."""
    return dict(inspect.getmembers(import_keras().applications, inspect.isfunction))


def families() -> dict[str, Function]:
    """What each family's ``preprocess_input`` makes of a picture, by the name of the family's module."""
    modules = inspect.getmembers(import_keras().applications, inspect.ismodule)
    # imagenet_utils is what the others are made of: its function is told by each of them how to scale
    named = {name: module for name, module in modules if name != "imagenet_utils"}
    return {name: _channels_last(x.preprocess_input) for name, x in named.items() if hasattr(x, "preprocess_input")}


def family(name: str) -> Function:
    """One family's function.

    Raises:
        UnknownName: there is no such family.
        MissingDependency: Keras 3 or its backend is not installed.
    """
    found = families()
    if name.lower() not in found:
        way_out = "Or name a function of yours: package.module:function."
        raise unknown("preprocessing of keras.applications", name, found, way_out)
    return found[name.lower()]


def preprocess_input_of(builder: Builder) -> Function:
    """The function of the family that a builder belongs to."""
    return _channels_last(sys.modules[builder.__module__].preprocess_input)


def family_of(names: Sequence[str]) -> Function | None:
    """The function of the family that one of the models' names tells of, such as ``mobilenetv2_1.00_224``."""
    by_length = sorted(builders().items(), key=lambda item: -len(item[0]))
    for name in map(_letters, names):
        for builder_name, builder in by_length:  # the longest first: ResNet50V2 before ResNet50
            if name.startswith(_letters(builder_name)):
                return preprocess_input_of(builder)
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _channels_last(function: Callable[..., Array]) -> Function:
    # The same object at each call, so that two equal preprocessings are equal.
    return partial(function, data_format="channels_last")
