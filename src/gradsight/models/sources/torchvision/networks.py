"""Models of torchvision, with the preprocessing and the categories that their weights carry."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from gradsight.errors import InvalidArgument, MissingDependency, ModelError, one_line, received, unknown
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.model import Model
from gradsight.models.sources.torchvision.detectors import keep_all
from gradsight.models.weights import load_weights, names_file
from gradsight.registry import source
from gradsight.targets.scores import Scores

if TYPE_CHECKING:
    from torch import nn


_INSTALL = "pip install 'gradsight[torchvision]'"


class Weights(Protocol):
    """One of the weights that torchvision offers for a model: a member of an enum."""

    name: str
    meta: dict[str, Any]

    def transforms(self) -> object:
        """The preset of its pictures."""

    def get_state_dict(self, **options: bool) -> object:
        """Fetch the tensors."""


class Offered(Protocol):
    """The enum of the weights for a model; its ``DEFAULT`` is the best of them, if there are any."""

    __members__: Mapping[str, Weights]


@source(
    "torchvision",
    title="torchvision's models, pretrained or with a file of weights",
    example="torchvision:resnet50",
    packages=("torch", "torchvision"),
    install=_INSTALL,
)
def torchvision(name: str, *, weights: str | None = None) -> Model:
    """Build a torchvision model.

    Args:
        name: as in ``torchvision.models.list_models()``.
        weights: nothing for the model's default pretrained weights, which are downloaded unless they lie in PyTorch's
            cache; one of their names, such as ``"IMAGENET1K_V1"``; ``"none"`` for random weights; or a state dict's
            file. With random weights or a file, preprocessing and categories are those of the default weights.

    Raises:
        UnknownName: there is no such model, or no such weights.
        InvalidArgument: there is no such file, or the model takes no single photo.
        MissingDependency: torchvision is not installed, or was not built for the installed PyTorch.
        ModelError: the weights cannot be fetched, or do not fit.
    """
    models = _models()
    name = name.lower()
    if name not in models.list_models():
        raise unknown("torchvision model", name, models.list_models())
    offered = models.get_model_weights(name)
    entry = _entry(offered, weights)
    described: Weights | None = entry or getattr(offered, "DEFAULT", None)
    preprocess = _preprocess(name, described)
    # preprocessing and classes of the default weights are the best guess for those of a file
    if entry is None:
        preprocess = replace(preprocess, assumed=PARTS)  # other weights may want other pictures
        model = models.get_model(name, weights=None, **_untrained(models.get_model_builder(name), name))
        if weights is not None and weights.lower() != "none":
            load_weights(model, weights)
    else:
        model = _pretrained(models, name, entry)
    # a detector is changed here; whatever else it is, it gives no row of scores for an image
    scores, detections = keep_all(model) or (_of_positions(described), None)
    labels = tuple((described.meta if described else {}).get("categories") or ()) or None
    return Model(model.eval(), preprocess, labels, scores, detections=detections)


def _models() -> ModuleType:
    try:
        import torchvision.models
    except ImportError as error:
        raise MissingDependency(
            f"torchvision models need a package that is missing: {error}. Run: {_INSTALL}"
        ) from error
    except RuntimeError as error:  # such as: operator torchvision::nms does not exist
        raise MissingDependency(
            f"torchvision is installed and does not work: it was built for another PyTorch ({one_line(error)}). "
            "Install the two together: pip install --force-reinstall torch torchvision"
        ) from error
    models: ModuleType = torchvision.models
    return models


def _entry(offered: Offered, weights: str | None) -> Weights | None:
    """The weights' enum member that was asked for, or None where the weights are random or in a file."""
    if weights is None:
        default: Weights | None = getattr(offered, "DEFAULT", None)
        return default
    if weights.lower() == "none" or names_file(weights):
        return None
    members = offered.__members__
    if weights.upper() not in members:
        raise unknown(
            "weights", weights, [*members, "none"], "Or give a file that exists, or 'none' for random weights."
        )
    return members[weights.upper()]


def _untrained(builder: Callable[..., nn.Module], name: str) -> dict[str, object]:
    """Arguments that keep a builder from downloading a backbone, and from initialising for minutes."""
    extra: dict[str, object] = {}
    if "weights_backbone" in inspect.signature(builder).parameters:
        extra["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        # without init_weights they warn; transform_input is how torchvision's own weights, so most files, were made
        extra |= {"init_weights": False, "transform_input": True}
    return extra


def _pretrained(models: ModuleType, name: str, entry: Weights) -> nn.Module:
    try:
        # Fetched first and read as tensors alone: the builder below finds the same file in the cache, and reads it
        # with a loader that could execute code.
        entry.get_state_dict(progress=True, check_hash=True, weights_only=True)
        model: nn.Module = models.get_model(name, weights=entry)
        return model
    except Exception as error:  # URLError, HTTPError, a wrong hash, a full disk, a damaged file in the cache ...
        raise ModelError(
            f"The weights {entry.name} of torchvision model {name!r} could not be fetched: "
            f"{one_line(error)}. Give --weights FILE, or --weights none for random weights."
        ) from error


def _preprocess(name: str, entry: Weights | None) -> Preprocess:
    """Read torchvision's preset: classification crops, segmentation and detection keep the whole picture.

    The presets of the latter two say nothing of a batch's one size: that, and the border around, is our choice.
    """
    preset: Any = entry.transforms() if entry is not None else None
    kind = type(preset).__name__
    if kind == "ImageClassification":
        height, width = _pair(preset.crop_size)
        return Preprocess(
            size=(height, width),
            resize=max(preset.resize_size),
            interpolation=preset.interpolation.value,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
        )
    if kind == "SemanticSegmentation":
        return Preprocess(
            size=_pair(preset.resize_size),
            fit="letterbox",
            interpolation=preset.interpolation.value,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            assumed=("fit",),
        )
    if kind == "ObjectDetection":
        # detectors normalise by themselves, and bring the shorter side to 800 whatever they are given
        assumed = ("size", "fit", "interpolation")
        return Preprocess(size=(800, 800), fit="letterbox", mean=(0.0,) * 3, std=(1.0,) * 3, assumed=assumed)
    raise InvalidArgument(
        f"A torchvision model must take one photo, and {name!r} does not ({kind}). {received(name)} "
        "Build it in a function, with its own preprocess: --model package.module:function."
    )


def _of_positions(entry: Weights | None) -> Scores | None:
    """Of a segmentation each class's mean over the positions; None of other models."""
    segments = entry is not None and type(entry.transforms()).__name__ == "SemanticSegmentation"
    return Scores(lambda outputs: outputs["out"].flatten(2).mean(-1), "") if segments else None


def _pair(size: list[int]) -> tuple[int, int]:
    return size[0], size[-1]
