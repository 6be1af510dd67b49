"""What an explainer and a call of it are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn, Protocol, TypeVar, cast

from gradsight.backends import user_model
from gradsight.contracts import UserModel
from gradsight.errors import InvalidArgument, received, unknown
from gradsight.explaining.layer_choice import LayerLike, Layers, several
from gradsight.explaining.method_runs import Finish
from gradsight.models.following.usable import usable
from gradsight.models.model import About, Model
from gradsight.registry import Method
from gradsight.targets import TargetLike
from gradsight.targets.labels import plain
from gradsight.variants import MethodLike, as_method

_T = TypeVar("_T")

OPTIONS = ("method", "layer", "targets", "layout", "grid", "batch_size")
"""The keyword arguments of `Explainer` that say how it explains."""

_IN_CALL = ("method", "layer", "targets")
"""Those of them that a call takes too."""

Methods = MethodLike | Sequence[MethodLike]
"""One or several of them."""


class Asked(NamedTuple):
    """What one call asks for.

    Attributes:
        targets: what is explained.
        methods: by which methods.
        layers: at which layers; None for the one to choose.
        several: a list of methods or layers was given, so that a tuple is given back.
        finish: what is done with each explanation while its pass is there; nothing, if nothing is asked for.
    """

    targets: TargetLike | None
    methods: list[Method]
    layers: list[LayerLike | None]
    several: bool
    finish: Finish = lambda explanation, *_: explanation


class Defaults(Protocol):
    """What is explained where a call does not say it: attributes of an `Explainer`."""

    method: Methods
    layer: Layers
    targets: TargetLike | None


def asked_of(defaults: Defaults, targets: TargetLike | None, method: Methods | None, layer: Layers) -> Asked:
    """What a call asks for; what is None there is taken from the defaults."""
    method = defaults.method if method is None else method
    layer = defaults.layer if layer is None else layer
    return Asked(
        targets=defaults.targets if targets is None else targets,
        methods=methods_of(method),
        layers=several(layer, "layer"),
        several=isinstance(method, list | tuple) or isinstance(layer, list | tuple),
    )


class Unchanging:
    """What makes an `Explainer` refuse to be changed."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        in_call = f"Pass it in the call, explainer(photos, {name}=...), or make" if name in _IN_CALL else "Make"
        raise InvalidArgument(
            f"`{name}` of an Explainer cannot be set: it does not change, since threads may share it. "
            f"{received(value)} {in_call} another one: gs.Explainer(explainer.model, {name}=...)."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise InvalidArgument(f"an Explainer does not change. Received: del explainer.{name}. Make another one.")


def methods_of(method: Methods) -> list[Method]:
    """The methods that are meant.

    Raises:
        InvalidArgument, InvalidType, UnknownName: see `as_method`; an empty list.
    """
    return [as_method(chosen) for chosen in cast("list[MethodLike]", several(method, "method"))]


def check_for_all(targets: object) -> None:
    """Check that targets are no list with one entry for each image.

    Raises:
        InvalidArgument: they are such a list.
    """
    if isinstance(plain(targets), list | tuple):
        raise InvalidArgument(
            f"`targets` must be one for all photos of a stream, whose number nobody knows. {received(targets)} Explain "
            "those photos by a call, explainer(photos, targets=[...]), or pass gs.Several(...) for several targets of "
            "each."
        )


def check_words(given: Iterable[str], known: Sequence[str], what: str, way_out: str = "") -> None:
    """Check that keyword arguments have known names; ``way_out`` ends the error.

    Raises:
        UnknownName: one is not known; the message names the nearest ones.
    """
    for name in given:
        if name not in known:
            raise unknown(f"argument of {what}", name, known, way_out)


def told(model: Model, about: About) -> Model:
    """A model with what the user says of it. Without a name, it gets that of its class."""
    preprocess = about.get("preprocess")
    # The model's own goes through `usable` too: a function of the user's is followed here, once, and not at each photo.
    if preprocess is not None or model.preprocess is not None:
        chosen = model.preprocess if preprocess is None else preprocess
        about = {**about, "preprocess": usable(chosen, model.preprocess, model.model)}
    if about.get("preprocess") is model.preprocess:  # which says nothing new: its spec goes on saying all of it
        about = {name: value for name, value in about.items() if name != "preprocess"}  # type: ignore[assignment]
    known = model.told(**about)
    return known if known.name else replace(known, name=type(known.model).__name__)


def in_backend(model: Model) -> UserModel:
    """The model as its framework's backend runs it; see `user_model` for the errors."""
    return user_model(
        model.model,
        probabilities=model.probabilities,
        scores=model.scores,
        labels=model.labels,
        left_out=model.left_out,
    )


def kept(value: _T) -> _T | tuple[object, ...]:
    """A value to keep: a list becomes a tuple, since the user may change the list later."""
    # A tuple cannot be changed, so that the explainer stays what it was checked as.
    return tuple(value) if isinstance(value, list) else value


def same_form(given: object, values: Sequence[_T]) -> _T | tuple[_T, ...]:
    """Several values for a tuple, one for anything else."""
    return tuple(values) if isinstance(given, tuple) else values[0]
