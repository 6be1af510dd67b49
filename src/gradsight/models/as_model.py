"""One way to name a model: a source's name, a path, a module, what ultralytics loads, or a `Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeGuard, Unpack

from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Module
from gradsight.models.carried import preprocess_carried
from gradsight.models.device import check_stays
from gradsight.models.load import imagenet_or_file, load_model
from gradsight.models.model import Model, PreprocessLike
from gradsight.models.preprocess import named, overridden
from gradsight.models.spec import ModelSpec, Picture, picture_of
from gradsight.models.wrapped import opened
from gradsight.targets import Labels

ModelLike = str | os.PathLike[str] | ModelSpec | Model | Module
"""Whatever names a model, or is one."""


class LoadOptions(Picture, total=False):
    """What is said of a model where it is named; see `load_model`."""

    weights: str | os.PathLike[str] | None
    labels: str | os.PathLike[str] | Labels | None
    text: str | None
    arguments: Mapping[str, object] | None
    preprocess: str | PreprocessLike | None
    device: object


def is_named(value: ModelLike) -> TypeGuard[str | os.PathLike[str] | ModelSpec]:
    """Whether a value names a model that is yet to be loaded."""
    return isinstance(value, str | os.PathLike | ModelSpec)


def as_model(value: ModelLike, **options: Unpack[LoadOptions]) -> Model:
    """The model that a user means.

    Args:
        value: a source's name, a path or a `ModelSpec`, which are loaded; a `Model`; a module of PyTorch or Keras; or
            an object around one that ultralytics makes.
        **options: as those of `load_model`. Of a model that is there already, everything but ``weights`` and
            ``arguments`` can be replaced too; it is not moved to another ``device``.

    Raises:
        GradsightError: see `load_model`; an option means nothing to a model that is there already.
    """
    # Loading takes all options, and says itself which of them mean nothing to a source.
    if is_named(value):
        return load_model(value, **options)
    # First, since what ultralytics gives holds the module, and the options are about that.
    model = _opened(value)
    given = {name: option for name, option in options.items() if option is not None}
    for name in ("weights", "arguments"):
        if name in given:
            raise InvalidArgument(
                f"`{name}` is for a model that gradsight loads, and this one is there already. {received(given[name])} "
                "Leave it out, or name a source: model='timm:resnet50'."
            )
    return _told(model, options) if given else model


def _opened(value: Model | Module) -> Model:
    """A module as a `Model`, and a `Model` around what ultralytics gives as one of the module inside of that."""
    found = opened(value.model if isinstance(value, Model) else value)
    if not isinstance(value, Model):
        return found if isinstance(found, Model) else Model(found)
    if not isinstance(found, Model) or found is value.model:
        return value
    # What was said goes before what the object says.
    preprocess, labels = value.preprocess or found.preprocess, value.labels or found.labels
    return replace(value, model=found.model, preprocess=preprocess, labels=labels)


def _told(model: Model, options: LoadOptions) -> Model:
    """A model with what the user says of it."""
    device, text, labels = options.get("device"), options.get("text"), options.get("labels")
    if device is not None:
        # Only checked: a module of the user's is not moved behind their back.
        check_stays(model.model, str(device))
    if text is not None:
        model = model.about(text)
    if labels is not None:
        model = model.told(labels=imagenet_or_file(labels) if isinstance(labels, str | os.PathLike) else labels)
    return _pictured(model, options)


def _pictured(model: Model, options: LoadOptions) -> Model:
    """A model whose photos are made as the user says."""
    preprocess = options.get("preprocess")
    given = picture_of({name: value for name, value in options.items() if name in Picture.__annotations__})
    if preprocess is None and not given:
        return model
    # Asked for only where something is to be replaced, since to look for it takes time.
    source = model.preprocess
    if source is None and model.spec is None:  # a source of ours would have said it, were there any
        source = preprocess_carried(model.model)
    made = overridden(source, None if preprocess is None else named(preprocess), given, model.model)
    # No spec any more: it would load the model with the preprocess that was replaced.
    return replace(model, preprocess=made, spec=None)
