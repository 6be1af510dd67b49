"""One way in: a name, a path or ``package.module:function`` becomes a model that is ready to be explained."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradsight.contracts import LoadedModel
from gradsight.errors import InvalidArgument, InvalidType, received, unknown
from gradsight.imaging import Preprocess
from gradsight.models import files
from gradsight.models.keras.engine import is_keras
from gradsight.models.keras.inputs import check_fits
from gradsight.models.labels import imagenet_labels, read_labels
from gradsight.models.preprocess import as_size, named, overridden
from gradsight.registry import SOURCES

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NOT_YET = ("hf", "timm")
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
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
) -> LoadedModel:
    """Load a model with the preprocessing and the class names that belong to it.

    Args:
        spec: ``"demo"``, ``"torchvision:resnet50"``, ``"keras:Xception"``, ``"package.module:function"`` or the path of
            a file such as ``"model.pt2"`` or ``"model.keras"``. A scheme goes before a file of the same name; write
            ``"./demo"`` for the file.
        weights: a file of weights to put into the model, or what the source itself offers (``"IMAGENET1K_V1"``).
        preprocess: what is done with a fitted picture in place of the source's mean and std: a function of float32
            (height, width, 3), RGB in 0..255, that returns (height, width, channels); ``"package.module:function"``;
            or the name of a family of ``keras.applications``, such as ``"resnet50"``. A `Preprocess` replaces all of
            the source's, the fit too.
        fit: ``"crop"``, ``"squash"`` or ``"letterbox"``, in place of the source's.
        interpolation: how the picture is resized: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"`` or
            ``"box"``.
        size: the model's input in pixels, one number or (height, width). The resize before a crop follows in
            proportion, so that the same part of the picture is seen.
        mean: subtracted from pixels in [0, 1], one value (a grey model) or three.
        std: divides them after that. The two together also replace a function of the source's.
        labels: the class names, a file or folder that ``read_labels`` takes, or ``"imagenet"``.

    Returns:
        The model in evaluation mode, its preprocessing, and its labels.

    Raises:
        UnknownName: there is no such source, model, module, function or preprocessing.
        InvalidArgument: a file that cannot be used, an override that breaks a rule, or one that does not fit a model
            which says what it takes, as those of Keras do.
        ModelError: the model or its weights cannot be loaded.
        MissingDependency: the source's package is not installed.
    """
    sides = None if size is None else as_size(size)
    loaded = _load(_text(spec, "model"), None if weights is None else _text(weights, "weights"), sides)
    given = {"fit": fit, "interpolation": interpolation, "size": sides, "mean": mean, "std": std}
    overrides = {name: value for name, value in given.items() if value is not None}
    made = overridden(loaded.preprocess, None if preprocess is None else named(preprocess), overrides)
    if isinstance(made, Preprocess) and is_keras(loaded.model):
        check_fits(loaded.model, made)
    return LoadedModel(loaded.model, made, loaded.labels if labels is None else _labels(labels))


def _text(value: Any, argument: str) -> str:
    if not isinstance(value, (str, os.PathLike)):
        way_out = "A model object that you already have goes to gs.Explainer(model)." if argument == "model" else ""
        raise InvalidType(f"{argument} must be a name or a path. {received(value)} {way_out}".strip())
    return os.fspath(value)


def _load(spec: str, weights: str | None, size: tuple[int, int] | None) -> LoadedModel:
    scheme, _, name = spec.partition(":")
    if scheme in SOURCES:
        function = SOURCES[scheme].function
        sized = size is not None and "size" in inspect.signature(function).parameters
        loaded: LoadedModel = function(name, weights=weights, **({"size": size} if sized else {}))
    elif scheme in _NOT_YET and name:
        raise InvalidArgument(
            f"model {spec!r}: the source {scheme!r} is not there yet. Write a function without arguments that returns "
            "the model, and pass package.module:function."
        )
    elif Path(spec).exists() or files.is_model_file(spec):
        loaded = files.load(spec, weights=weights)
    elif _FUNCTION.fullmatch(spec):
        loaded = SOURCES["function"].function(spec, weights=weights)
    else:
        examples = ", ".join(repr(source.example) for source in SOURCES.values())
        raise unknown("model source", spec, SOURCES, f"Models are named as in {examples}; {_LIST}")
    return loaded


def _labels(labels: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    if labels == "imagenet":
        return imagenet_labels()
    if isinstance(labels, (str, os.PathLike)):
        return read_labels(labels)
    names = tuple(labels) if isinstance(labels, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidType(f"labels must be a path or a sequence of names. {received(labels)} Pass ['cat', 'dog'].")
    return names
