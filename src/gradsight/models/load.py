"""One way in: a name, a path or ``package.module:function`` becomes a model that is ready to be explained."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

from gradsight.errors import InvalidArgument, InvalidType, UnknownName, received, unknown
from gradsight.files import exists
from gradsight.imaging import Preprocess
from gradsight.models.device import move
from gradsight.models.keras.backend import is_keras
from gradsight.models.keras.inputs import check_fits
from gradsight.models.known import suggestions
from gradsight.models.labels import imagenet_labels, read_labels
from gradsight.models.model import Model, PreprocessLike
from gradsight.models.preprocess import named, overridden
from gradsight.models.sources.file import is_model_file
from gradsight.models.sources.hf.models import is_model_folder
from gradsight.models.spec import ModelSpec, Picture
from gradsight.registry import SOURCES
from gradsight.targets import Labels

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LIST = "`gradsight models` lists them."


def load_model(
    source: str | os.PathLike[str] | ModelSpec,
    *,
    weights: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | Labels | None = None,
    text: str | None = None,
    arguments: Mapping[str, object] | None = None,
    preprocess: str | PreprocessLike | None = None,
    device: object = None,
    **picture: Unpack[Picture],
) -> Model:
    """Load a model with the preprocessing and the class names that belong to it.

    Args:
        source: ``"demo"``, ``"torchvision:resnet50"``, ``"keras:Xception"``, ``"package.module:function"`` or the path
            of a file such as ``"model.pt2"`` or ``"model.keras"``. A scheme goes before a file of the same name; write
            ``"./demo"`` for the file. Or a `ModelSpec`; what else is given here then takes the place of its own.
        weights: a file of weights to put into the model, or what the source itself offers (``"IMAGENET1K_V1"``).
        labels: the class names, as `Explainer` takes them, a file or folder that ``read_labels`` takes, or
            ``"imagenet"``. A model that compares pictures with texts (CLIP, SigLIP) compares them with these.
        text: what a model that reads a text beside the picture is given: a question, or the beginning of a caption.
        arguments: keyword arguments of the function that ``package.module:function`` names.
        preprocess: what is done with a fitted picture in place of the source's mean and std: a function of float32
            (height, width, 3), RGB in 0..255, that returns (height, width, channels); ``"package.module:function"``;
            or the name of a family of ``keras.applications``, such as ``"resnet50"``. A `Preprocess` replaces all of
            the source's, the fit too, and so does a function that makes the whole input of a photo, such as a
            ``Compose`` of torchvision's, which is followed by trying.
        device: where the model goes, such as ``"cuda"``; where its source puts it, the CPU, if not given. Keras decides
            that itself, by KERAS_BACKEND and the environment of its engine.
        **picture: how photos are made for it, in place of the source's:

            fit: ``"crop"``, ``"squash"``, ``"letterbox"``, ``"keep"`` or ``"none"``, in place of the source's.
            interpolation: how the picture is resized: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"`` or
                ``"box"``.
            size: the model's input in pixels, one number or (height, width). The resize before a crop follows in
                proportion, so that the same part of the picture is seen.
            mean: subtracted from pixels in [0, 1], one value (a grey model) or three.
            std: divides them after that. The two together also replace a function of the source's.
            crop: the share of the resized picture's shorter side that the model sees (timm's ``crop_pct``); 1 for all.

    Returns:
        The model in evaluation mode, its preprocessing, and its labels.

    Raises:
        UnknownName: there is no such source, model, module, function or preprocessing.
        InvalidArgument: a file that cannot be used, an override that breaks a rule, or one that does not fit a model
            which says what it takes, as those of Keras do.
        ModelError: the model or its weights cannot be loaded.
        MissingDependency: the source's package is not installed.
    """
    given: dict[str, object] = {"weights": weights, "labels": labels, "text": text, "arguments": arguments}
    given |= {"preprocess": preprocess, "device": device}
    if isinstance(source, ModelSpec):
        # None is "not said", so that the spec's own values stay.
        others = {name: value for name, value in given.items() if value is not None}
        said = {**source.picture, **{name: value for name, value in picture.items() if value is not None}}
        spec = replace(source, **others, picture=said)  # type: ignore[arg-type]
    else:
        spec = ModelSpec(source, **given, picture=picture)  # type: ignore[arg-type]
    return _of_spec(spec)


def _of_spec(spec: ModelSpec) -> Model:
    names = imagenet_or_file(spec.labels) if isinstance(spec.labels, str) else spec.labels
    offered: dict[str, object] = {
        "size": spec.picture.get("size"),
        "labels": names,
        "text": spec.text,
        "arguments": spec.arguments or None,
    }
    loaded = _load(spec.source, spec.weights, offered)
    given = None if spec.preprocess is None else named(spec.preprocess)
    made = overridden(loaded.preprocess, given, dict(spec.picture), loaded.model)
    # Now, and not as an error of Keras's own with the first photo.
    if isinstance(made, Preprocess) and is_keras(loaded.model):
        check_fits(loaded.model, made)
    if spec.device is not None:
        move(loaded.model, spec.device)
    return replace(loaded, preprocess=made, labels=names or loaded.labels, name=loaded.name or spec.source, spec=spec)


def _load(source: str, weights: str | None, offered: dict[str, object]) -> Model:
    scheme, name = _scheme(source)
    function = SOURCES[scheme].function
    takes = inspect.signature(function).parameters
    for argument in ("text", "arguments"):
        if offered[argument] is not None and argument not in takes:
            goes_to = ", ".join(n for n, s in SOURCES.items() if argument in inspect.signature(s.function).parameters)
            raise InvalidArgument(
                f"{argument} means nothing to the source {scheme!r}, only to: {goes_to}. "
                f"{received(offered[argument])} Leave it out."
            )
    # Sources differ in what they need to know to build a model: each names it as its parameters.
    given = {key: value for key, value in offered.items() if value is not None and key in takes}
    loaded = function(name, weights=weights, **given)
    # A source of the user's may return the module itself, as a function of theirs may.
    if not isinstance(loaded, Model):
        raise InvalidType(f"the source {scheme!r} must return a gs.Model. {received(loaded)} Return gs.Model(module).")
    return loaded


def _scheme(spec: str) -> tuple[str, str]:
    """The source that a name belongs to, and what it calls the model."""
    scheme, _, name = spec.partition(":")
    # A scheme comes before a file of the same name, as the docstring of `load_model` says.
    if scheme in SOURCES:
        return scheme, name
    if exists(spec) or is_model_file(spec):
        return "hf" if is_model_folder(spec) else "file", spec
    if _FUNCTION.fullmatch(spec):
        return "function", spec
    # With a colon it names a source or a function, and another network is not what was meant.
    meant = [] if ":" in spec else suggestions(spec)
    if meant:
        raise UnknownName(f"There is no model source {spec!r}. Did you mean {' or '.join(map(repr, meant))}? {_LIST}")
    examples = ", ".join(repr(source.example) for source in SOURCES.values())
    raise unknown("model source", spec, SOURCES, f"Models are named as in {examples}; {_LIST}")


def imagenet_or_file(labels: str | os.PathLike[str]) -> tuple[str, ...]:
    """Class names by the word ``"imagenet"``, or from a file or a folder."""
    return imagenet_labels() if labels == "imagenet" else read_labels(labels)
