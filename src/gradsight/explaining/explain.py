"""One call from a photo to its explanation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar, Unpack, cast, overload

from gradsight.errors import InvalidArgument, received
from gradsight.explaining.asked import OPTIONS, Methods, check_words
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.inputs import PhotoLike
from gradsight.explaining.layer_choice import LayerLike, Layers
from gradsight.models.as_model import LoadOptions, ModelLike, as_model, is_named
from gradsight.models.model import ABOUT, About
from gradsight.models.spec import Picture
from gradsight.results.explanation import Explanation
from gradsight.targets import TargetLike, Top
from gradsight.variants import MethodLike

_M = TypeVar("_M", bound=MethodLike)
Photos = PhotoLike | Sequence[PhotoLike]


class _Loading(Picture, total=False):
    """What is said of a model where it is loaded."""

    weights: str | os.PathLike[str] | None
    arguments: Mapping[str, object] | None
    device: object


class SharedOptions(_Loading, About, total=False):
    """Keyword arguments of `load_model` and of `Explainer` that everything takes which names a model."""

    layout: str | None
    grid: int | Sequence[int] | None
    batch_size: int


class Options(SharedOptions, total=False):
    """Those that `explain` takes."""

    text: str | None


@overload
def explain(
    photos: Photos,
    model: ModelLike = ...,
    *,
    top: int | None = ...,
    targets: TargetLike | None = ...,
    method: MethodLike | None = ...,
    layer: LayerLike | None = ...,
    diagnose: bool = ...,
    **options: Unpack[Options],
) -> Explanation: ...


@overload
def explain(
    photos: Photos,
    model: ModelLike = ...,
    *,
    top: int | None = ...,
    targets: TargetLike | None = ...,
    method: list[_M] | tuple[_M, ...],
    layer: Layers = ...,
    diagnose: bool = ...,
    **options: Unpack[Options],
) -> tuple[Explanation, ...]: ...


@overload
def explain(
    photos: Photos,
    model: ModelLike = ...,
    *,
    top: int | None = ...,
    targets: TargetLike | None = ...,
    method: Methods | None = ...,
    layer: list[LayerLike] | tuple[LayerLike, ...],
    diagnose: bool = ...,
    **options: Unpack[Options],
) -> tuple[Explanation, ...]: ...


def explain(
    photos: Photos,
    model: ModelLike = "demo",
    *,
    top: int | None = None,
    targets: TargetLike | None = None,
    method: Methods | None = None,
    layer: Layers = None,
    diagnose: bool = False,
    **options: Unpack[Options],
) -> Explanation | tuple[Explanation, ...]:
    """Explain photos in one call.

    >>> import numpy as np
    >>> import torch
    >>> import gradsight as gs
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> photo = np.zeros((40, 60, 3), np.uint8)
    >>> gs.explain(photo, net, size=32, top=2).maps.shape
    (1, 2, 30, 30)

    Args:
        photos: a photo or a list of photos: paths, bytes, PIL images, or arrays (height, width, 3) of uint8, RGB.
        model: a model source such as ``"demo"`` or ``"torchvision:resnet50"`` (`gradsight models` lists them), a path,
            a module of PyTorch or Keras, or what `load_model` gave.
        top: explain the ``top`` best classes of each photo, instead of ``targets``.
        targets: what is explained, see `Explainer`; the best class by default.
        method: a method, or a list of them; Grad-CAM by default.
        layer: a layer's name or module, or a list of them; chosen by default.
        diagnose: check each map by running the model again, see `Explainer`; what came of it are notes.
        **options: keyword arguments of `load_model`, such as ``fit="letterbox"`` or ``device="cuda"``, and of
            `Explainer`, such as ``labels``. Of a model that is there already, how photos are made for it can be
            replaced too.

    Returns:
        An `Explanation`, which notebooks draw; for a list of methods or layers a tuple of them.

    Raises:
        InvalidArgument: ``top`` and ``targets`` are both given.
        UnknownName: there is no such argument, model, layer or class.
        GradsightError: with what was wrong, what was received and what to do.
    """
    # Here too, though `Explainer` checks its own: its error would name fewer words than may be given here.
    check_words(options, [*_LOADING, *ABOUT, *OPTIONS, "top", "diagnose"], "explain")
    if top is not None and targets is not None:
        raise InvalidArgument(f"`top` and `targets` exclude each other. {received(top)} Leave one of them out.")
    loading, others = split_options(options, model)
    explainer = Explainer(
        as_model(model, **loading),
        method="gradcam" if method is None else method,
        layer=layer,
        targets=targets if top is None else Top(top),
        **others,  # type: ignore[arg-type]
    )
    return explainer(photos, diagnose=diagnose)


def split_options(options: Mapping[str, object], model: ModelLike) -> tuple[LoadOptions, dict[str, object]]:
    """Keyword arguments for `load_model`, and those for `Explainer`."""
    # With these it is one preprocessing, which loading alone makes of them: `Explainer` would let the others go.
    pictured = any(options.get(name) is not None for name in Picture.__annotations__)
    loading = {
        name: value
        for name, value in options.items()
        if _is_for_loading(name, value, model) or (name == "preprocess" and pictured)
    }
    return cast("LoadOptions", loading), {name: value for name, value in options.items() if name not in loading}


# Words that both take are not in it: `_is_for_loading` decides on these by their values.
_LOADING = tuple(name for name in LoadOptions.__annotations__ if name not in ABOUT)


def _is_for_loading(name: str, value: object, model: ModelLike) -> bool:
    """Whether an argument goes to `load_model`; both take labels and a preprocess."""
    if name == "labels":  # a source may build its model by them
        return is_named(model) or isinstance(value, str | os.PathLike)
    # A name must be looked up, which only loading does; a function or a `Preprocess` goes to either.
    return name in _LOADING or (name == "preprocess" and isinstance(value, str))
