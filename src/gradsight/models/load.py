"""One way in: a name, a path or ``package.module:function`` becomes a model that is ready to be explained."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, UnknownName, received, unknown
from gradsight.files import exists
from gradsight.imaging import Preprocess
from gradsight.models import files
from gradsight.models.huggingface import is_model_folder
from gradsight.models.keras.engine import is_keras
from gradsight.models.keras.inputs import check_fits
from gradsight.models.known import suggestions
from gradsight.models.labels import imagenet_labels, read_labels
from gradsight.models.model import Model
from gradsight.models.preprocess import named, overridden
from gradsight.registry import SOURCES
from gradsight.rules import Instance, Name, Sides, Text
from gradsight.targets import Labels, as_labels

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LIST = "`gradsight models` lists them."


def load_model(
    spec: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: str | Preprocess | Callable[[Any], Any] | None = None,
    fit: str | None = None,
    interpolation: str | None = None,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    crop: float | None = None,
    labels: str | os.PathLike[str] | Labels | None = None,
    text: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Model:
    """Load a model with the preprocessing and the class names that belong to it.

    Args:
        spec: ``"demo"``, ``"torchvision:resnet50"``, ``"keras:Xception"``, ``"package.module:function"`` or the path of
            a file such as ``"model.pt2"`` or ``"model.keras"``. A scheme goes before a file of the same name; write
            ``"./demo"`` for the file.
        weights: a file of weights to put into the model, or what the source itself offers (``"IMAGENET1K_V1"``).
        preprocess: what is done with a fitted picture in place of the source's mean and std: a function of float32
            (height, width, 3), RGB in 0..255, that returns (height, width, channels); ``"package.module:function"``;
            or the name of a family of ``keras.applications``, such as ``"resnet50"``. A `Preprocess` replaces all of
            the source's, the fit too, and so does a function that makes the whole input of a photo, such as a
            ``Compose`` of torchvision's, which is followed by trying.
        fit: ``"crop"``, ``"squash"``, ``"letterbox"``, ``"keep"`` or ``"none"``, in place of the source's.
        interpolation: how the picture is resized: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"`` or
            ``"box"``.
        size: the model's input in pixels, one number or (height, width). The resize before a crop follows in
            proportion, so that the same part of the picture is seen.
        mean: subtracted from pixels in [0, 1], one value (a grey model) or three.
        std: divides them after that. The two together also replace a function of the source's.
        crop: the share of the resized picture's shorter side that the model sees (timm's ``crop_pct``); 1 for all.
        labels: the class names, as `Explainer` takes them, a file or folder that ``read_labels`` takes, or
            ``"imagenet"``. A model that compares pictures with texts (CLIP, SigLIP) compares them with these.
        text: what a model that reads a text beside the picture is given: a question, or the beginning of a caption.
        arguments: keyword arguments of the function that ``package.module:function`` names.

    Returns:
        The model in evaluation mode, its preprocessing, and its labels.

    Raises:
        UnknownName: there is no such source, model, module, function or preprocessing.
        InvalidArgument: a file that cannot be used, an override that breaks a rule, or one that does not fit a model
            which says what it takes, as those of Keras do.
        ModelError: the model or its weights cannot be loaded.
        MissingDependency: the source's package is not installed.
    """
    sides = optional("size", size, Sides(), "Pass 224.")
    optional("text", text, Text())
    optional("arguments", arguments, Instance(Mapping, "a dict of keyword arguments"))
    names = None if labels is None else _labels(labels)
    offered = {"size": sides, "labels": names, "text": text, "arguments": arguments or None}
    loaded = _load(_text(spec, "model"), None if weights is None else _text(weights, "weights"), offered)
    given = {"fit": fit, "interpolation": interpolation, "size": sides, "mean": mean, "std": std, "crop": crop}
    overrides = {name: value for name, value in given.items() if value is not None}
    made = overridden(loaded.preprocess, None if preprocess is None else named(preprocess), overrides, loaded.model)
    if isinstance(made, Preprocess) and is_keras(loaded.model):
        check_fits(loaded.model, made)
    return replace(loaded, preprocess=made, labels=names or loaded.labels)


def _text(value: Any, argument: str) -> str:
    way_out = "A model object that you already have goes to gs.Explainer(model)." if argument == "model" else ""
    return taken(argument, value, Name("a name or a path"), way_out)


def _load(spec: str, weights: str | None, offered: dict[str, Any]) -> Model:
    scheme, name = _scheme(spec)
    function = SOURCES[scheme].function
    takes = inspect.signature(function).parameters
    for argument in ("text", "arguments"):
        if offered[argument] is not None and argument not in takes:
            goes_to = ", ".join(n for n, s in SOURCES.items() if argument in inspect.signature(s.function).parameters)
            raise InvalidArgument(
                f"{argument} means nothing to the source {scheme!r}, only to: {goes_to}. "
                f"{received(offered[argument])} Leave it out."
            )
    given = {key: value for key, value in offered.items() if value is not None and key in takes}
    loaded: Model = function(name, weights=weights, **given)
    return loaded


def _scheme(spec: str) -> tuple[str, str]:
    """The source that a name belongs to, and what it calls the model."""
    scheme, _, name = spec.partition(":")
    if scheme in SOURCES:
        return scheme, name
    if exists(spec) or files.is_model_file(spec):
        return "hf" if is_model_folder(spec) else "file", spec
    if _FUNCTION.fullmatch(spec):
        return "function", spec
    meant = [] if ":" in spec else suggestions(spec)
    if meant:
        raise UnknownName(f"There is no model source {spec!r}. Did you mean {' or '.join(map(repr, meant))}? {_LIST}")
    examples = ", ".join(repr(source.example) for source in SOURCES.values())
    raise unknown("model source", spec, SOURCES, f"Models are named as in {examples}; {_LIST}")


def _labels(labels: str | os.PathLike[str] | Labels) -> tuple[str, ...]:
    if isinstance(labels, (str, os.PathLike)):
        return imagenet_labels() if labels == "imagenet" else read_labels(labels)
    return as_labels(labels, "labels")
