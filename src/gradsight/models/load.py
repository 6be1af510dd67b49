"""One way in: a name, a path or ``package.module:function`` becomes a model that is ready to be explained."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradsight.contracts import LoadedModel
from gradsight.errors import InvalidArgument, InvalidType, received, unknown
from gradsight.imaging import Preprocess
from gradsight.models import files
from gradsight.models.labels import imagenet_labels, read_labels
from gradsight.registry import SOURCES

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NOT_YET = ("hf", "keras", "timm")
_LIST = "`gradsight models` lists them."


def load_model(
    spec: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    fit: str | None = None,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
) -> LoadedModel:
    """Load a model with the preprocessing and the class names that belong to it.

    Args:
        spec: ``"demo"``, ``"torchvision:resnet50"``, ``"package.module:function"`` or the path of a file such as
            ``"model.pt2"``. A scheme goes before a file of the same name; write ``"./demo"`` for the file.
        weights: a file of weights to put into the model, or what the source itself offers (``"IMAGENET1K_V1"``).
        fit: ``"crop"``, ``"squash"`` or ``"letterbox"``, in place of the source's.
        size: the model's input in pixels, one number or (height, width). The resize before a crop follows in
            proportion, so that the same part of the picture is seen.
        mean: subtracted from pixels in [0, 1], one value (a grey model) or three.
        std: divides them after that.
        labels: the class names, a file or folder that ``read_labels`` takes, or ``"imagenet"``.

    Returns:
        The model in evaluation mode, its preprocessing, and its labels.

    Raises:
        UnknownName: there is no such source, model, module or function.
        InvalidArgument: a file that cannot be used, or an override that breaks a rule.
        ModelError: the model or its weights cannot be loaded.
        MissingDependency: the source's package is not installed.
    """
    loaded = _load(_text(spec, "model"), None if weights is None else _text(weights, "weights"))
    preprocess = loaded.preprocess
    given = {"fit": fit, "size": size, "mean": mean, "std": std}
    overrides = {name: value for name, value in given.items() if value is not None}
    if overrides:
        preprocess = _override(preprocess, overrides)
    return LoadedModel(loaded.model, preprocess, loaded.labels if labels is None else _labels(labels))


def _text(value: Any, argument: str) -> str:
    if not isinstance(value, (str, os.PathLike)):
        way_out = "A model object that you already have goes to gs.Explainer(model)." if argument == "model" else ""
        raise InvalidType(f"{argument} must be a name or a path. {received(value)} {way_out}".strip())
    return os.fspath(value)


def _load(spec: str, weights: str | None) -> LoadedModel:
    scheme, _, name = spec.partition(":")
    if scheme in SOURCES:
        loaded: LoadedModel = SOURCES[scheme].function(name, weights=weights)
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


def _override(preprocess: Any, overrides: dict[str, Any]) -> Preprocess:
    if not isinstance(preprocess, Preprocess):
        names = " and ".join(overrides)
        raise InvalidArgument(
            f"{names} can only replace those of a gradsight.imaging.Preprocess, and the source of this model gives "
            f"another preprocessing. {received(preprocess)} Have the function return (model, Preprocess(...), labels)."
        )
    changes = dict(overrides)
    for name in ("mean", "std"):
        if name in changes:
            changes[name] = _numbers(changes[name], name)
    if "size" in changes:
        changes["size"] = _size(changes["size"])
        if preprocess.resize is not None:
            changes["resize"] = round(preprocess.resize * max(changes["size"]) / max(preprocess.size))
    return replace(preprocess, **changes)


def _size(size: Any) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair):
        raise InvalidArgument(f"size must be one positive whole number or (height, width). {received(size)} Pass 224.")
    return int(pair[0]), int(pair[1])


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),)
    except (TypeError, ValueError):
        raise InvalidArgument(
            f"{name} must be one number or three, in units of [0, 1] pictures. {received(value)} Pass 0.5."
        ) from None


def _labels(labels: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    if labels == "imagenet":
        return imagenet_labels()
    if isinstance(labels, (str, os.PathLike)):
        return read_labels(labels)
    names = tuple(labels) if isinstance(labels, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidType(f"labels must be a path or a sequence of names. {received(labels)} Pass ['cat', 'dog'].")
    return names
