"""What an explainer and a call of it are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar, cast

from gradsight.backends import user_model
from gradsight.contracts import UserModel
from gradsight.errors import InvalidArgument, received, unknown
from gradsight.explaining.layer_choice import LayerLike, several
from gradsight.models.following.usable import usable
from gradsight.models.model import About, Model
from gradsight.registry import Method
from gradsight.targets import TargetLike, plain
from gradsight.variants import MethodLike, as_method

_T = TypeVar("_T")

Methods = MethodLike | Sequence[MethodLike]
"""One or several of them."""


class Asked(NamedTuple):
    """What one call asks for.

    Attributes:
        targets: what is explained.
        methods: by which methods.
        layers: at which layers; None for the one to choose.
        several: a list of methods or layers was given, so that a tuple is given back.
    """

    targets: TargetLike | None
    methods: list[Method]
    layers: list[LayerLike | None]
    several: bool


def methods_of(method: Methods) -> list[Method]:
    """The methods that are meant.

    Raises:
        InvalidArgument, InvalidType, UnknownName: see `as_method`; an empty list.
    """
    return [as_method(chosen) for chosen in cast("list[MethodLike]", several(method, "method"))]


def check_for_all(targets: object) -> None:
    """See that targets are none of a list with one for each image.

    Raises:
        InvalidArgument: they are.
    """
    if isinstance(plain(targets), list | tuple):
        raise InvalidArgument(
            f"`targets` must be one for all photos of a stream, whose number nobody knows. {received(targets)} Explain "
            "those photos by a call, explainer(photos, targets=[...]), or pass gs.Several(...) for several targets of "
            "each."
        )


def check_words(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """See that keyword arguments are among those that there are.

    Raises:
        UnknownName: one is not; the nearest ones are named.
    """
    for name in given:
        if name not in known:
            raise unknown(f"argument of {what}", name, known)


def told(model: Model, about: About) -> Model:
    """A model with what the user says of it; its name, if it has none, is that of its class."""
    preprocess = about.get("preprocess")
    if preprocess is not None or model.preprocess is not None:
        chosen = model.preprocess if preprocess is None else preprocess
        about = {**about, "preprocess": usable(chosen, model.preprocess, model.model)}
    if about.get("preprocess") is model.preprocess:  # which says nothing new: its spec goes on saying all of it
        about = {name: value for name, value in about.items() if name != "preprocess"}  # type: ignore[assignment]
    known = model.told(**about)
    return known if known.name else replace(known, name=type(known.model).__name__)


def in_backend(model: Model) -> UserModel:
    """A model in the hands of its framework's backend; see `user_model` for what it raises."""
    return user_model(
        model.model,
        probabilities=model.probabilities,
        scores=model.scores,
        labels=model.labels,
        left_out=model.left_out,
    )


def kept(value: _T) -> _T | tuple[object, ...]:
    """A value of the user's, who may go on changing a list."""
    return tuple(value) if isinstance(value, list) else value


def same_form(given: object, values: Sequence[_T]) -> _T | tuple[_T, ...]:
    """Several values for a tuple, one for anything else."""
    return tuple(values) if isinstance(given, tuple) else values[0]
