"""Models of timm, with the preprocessing and the classes of their pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import ModuleType
from typing import Any

from gradsight.errors import InvalidArgument, MissingDependency, ModelError, one_line, received, unknown
from gradsight.foreign import Module
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.hub import hub
from gradsight.models.labels import imagenet_labels
from gradsight.models.model import Model
from gradsight.models.weights import load_weights, names_file
from gradsight.registry import source

_INSTALL = "pip install 'gradsight[timm]'"


@source(
    "timm",
    title="timm's models, pretrained (downloaded at first use) or with a file of weights",
    example="timm:resnet50.a1_in1k",
    packages=("torch", "torchvision", "timm"),
    install=_INSTALL,
)
def timm(
    name: str,
    *,
    weights: str | None = None,
    size: tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
) -> Model:
    """Build a model of timm.

    Args:
        name: as in ``timm.list_models()``, with or without the tag of its pretrained weights.
        weights: nothing for the pretrained weights, which are downloaded unless they lie in the cache; ``"none"`` for
            random ones; or a file of them. With random weights or a file, preprocessing and classes are those of the
            pretrained ones.
        size: (height, width) that a transformer is built for; other models take any.
        labels: the class names; a model without pretrained weights gets a head for so many.

    Raises:
        UnknownName: there is no such model, or no such tag.
        InvalidArgument: there is no such file, or nothing pretrained under that name.
        MissingDependency: timm is not installed, or does not work.
        ModelError: the weights cannot be fetched, or do not fit.
    """
    library = _library()
    architecture, _, tag = name.partition(".")
    if not library.is_model(architecture):
        raise unknown("timm model", name, library.list_models(), "timm.list_models() lists them.")
    tags = [known.partition(".")[2] for known in library.list_pretrained(f"{architecture}.*")]
    # here and not by create_model, whose own error names no tag that it may have meant
    if tag and tag not in tags:
        raise unknown("tag", tag, tags, f"These are the weights of {architecture!r}.")
    pretrained = weights is None
    if pretrained and not tags:
        raise InvalidArgument(
            f"weights must be given: timm has no pretrained ones for {name!r}. Received: none. Give --weights FILE, or "
            "--weights none for random ones."
        )
    if weights is not None and weights.lower() != "none" and not names_file(weights):
        raise unknown("weights", weights, ["none"], "Tags go into the name (timm:resnet50.a1_in1k); or give a file.")
    # pretrained weights have their own head; another number of classes would throw it away
    options: dict[str, Any] = {} if pretrained or labels is None else {"num_classes": len(labels)}
    model = _created(library, name, pretrained, options, size)
    if weights is not None and weights.lower() != "none":
        load_weights(model, weights)
    preprocess = preprocess_of(library.data.resolve_model_data_config(model))
    if not pretrained:  # which may have been trained on other pictures
        preprocess = replace(preprocess, assumed=PARTS)
    return Model(model.eval(), preprocess, labels_of(library, model))


def _library() -> ModuleType:
    try:
        import timm.data
    except ImportError as error:
        raise MissingDependency(f"timm models need a package that is missing: {error}. Run: {_INSTALL}") from error
    except RuntimeError as error:  # such as: operator torchvision::nms does not exist
        raise MissingDependency(
            f"timm needs torchvision, which was built for another PyTorch ({one_line(error)}). "
            "Install the two together: pip install --force-reinstall torch torchvision"
        ) from error
    library: ModuleType = timm
    return library


def _created(
    library: ModuleType, name: str, pretrained: bool, options: dict[str, Any], size: tuple[int, int] | None
) -> Module:
    """The model, made for the size that is asked for where its kind is made for one (transformers are)."""
    try:
        with hub() if pretrained else nullcontext():
            if size is None:
                return library.create_model(name, pretrained=pretrained, **options)
            try:
                return library.create_model(name, pretrained=pretrained, img_size=size, **options)
            except TypeError:  # no argument img_size: it takes pictures of any size
                return library.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # no connection, a missing or damaged file, a size that no patch divides ...
        reason = one_line(error)
        if not pretrained:
            raise ModelError(
                f"timm model {name!r} cannot be built: {reason}. {received(options | {'size': size})}"
            ) from error
        raise ModelError(
            f"The pretrained weights of timm model {name!r} could not be fetched: {reason}. Give --weights FILE, or "
            "--weights none for random weights."
        ) from error


def preprocess_of(config: Mapping[str, Any]) -> Preprocess:
    """What timm's own evaluation transform does, ``timm.data.create_transform(**config)``."""
    size = tuple(config["input_size"][1:])
    # timm rounds down: with a pixel more, other pixels would be cut out, and maps would lie beside what was seen
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in size)
    fit = {"squash": "squash", "border": "letterbox"}.get(config["crop_mode"], "crop")
    return Preprocess(
        size=(size[0], size[1]),
        resize=min(scaled) if size[0] == size[1] or scaled != size else None,
        fit=fit,
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bilinear",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=tuple(config["mean"]) if fit == "letterbox" else 0.5,
    )


def labels_of(library: ModuleType, model: Module) -> tuple[str, ...] | None:
    """The classes that the weights say they know, or those of the ImageNet that has as many."""
    config = model.pretrained_cfg
    names, descriptions = config.get("label_names"), config.get("label_descriptions") or {}
    if names is not None and len(names) == model.num_classes:
        return tuple(str(descriptions.get(name, name)) for name in names)
    subset = library.data.infer_imagenet_subset(model)
    if subset == "imagenet-1k":
        return imagenet_labels()
    return None if subset is None else tuple(library.data.ImageNetInfo(subset).label_descriptions())
