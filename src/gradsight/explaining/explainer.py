"""The explainer: one model, with what is explained of it, where, and by which methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, TypeVar, Unpack, overload

from gradsight.checks import optional, taken
from gradsight.contracts import UserModel
from gradsight.explaining.asked import (
    OPTIONS,
    Methods,
    Unchanging,
    asked_of,
    check_words,
    in_backend,
    kept,
    methods_of,
    same_form,
    told,
)
from gradsight.explaining.calls import explained, streamed
from gradsight.explaining.diagnosing import asked_with
from gradsight.explaining.dissecting import Dissecting
from gradsight.explaining.layer_choice import LayerLike, Layers, Studies, names_of, several
from gradsight.explaining.origins import remembered
from gradsight.explaining.passes import Passes
from gradsight.explaining.spec import GRID, ExplainSpec
from gradsight.explaining.stream import Stream
from gradsight.foreign import Inputs
from gradsight.layers import Candidate
from gradsight.layouts import ORDERS
from gradsight.locks import whole
from gradsight.models.as_model import ModelLike, as_model
from gradsight.models.model import ABOUT, About, Model, PlacesPhotos
from gradsight.photos import P
from gradsight.results.explanation import Explanation
from gradsight.results.explanations import Explanations
from gradsight.rules import Choice, Whole
from gradsight.targets import TargetLike, check_target
from gradsight.variants import MethodLike

_T = TypeVar("_T")
_M = TypeVar("_M", bound=MethodLike)

_Several = list[_T] | tuple[_T, ...]
_Targets: TypeAlias = "TargetLike | None"

_BATCH_SIZE = 32
"""Where nothing else is said."""


class Explainer(Unchanging, Dissecting):
    """Explains one model. Threads may share it: it does not change, and the model stays as it is.

    >>> import torch, gradsight as gs
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> explainer = gs.Explainer(net, targets=2)
    >>> explainer(torch.rand(1, 3, 8, 8)).maps.shape
    (1, 1, 6, 6)

    Args:
        model: a `torch.nn.Module` or a `keras.Model`; a `Model`, such as `load_model` gives; a ``YOLO(...)`` of
            ultralytics; or a source's name or a path, which is loaded.
        layer: the layer's name, or the module itself, ``model.layer4``; a list for several; None to choose (see
            `layers`). Of a layer that runs several times, ``name`` is the last call and ``name#0`` the first.
        method: the method's name, with options or variants if need be (``"scorecam(top=64)"``, ``"smooth(gradcam)"``),
            or a function ``(probe, ops) -> maps``; a list for several.
        targets: what to explain by default, as in a call.
        layout: ``"channels_first"``, ``"channels_last"`` or ``"tokens"``, where the layer's shape leaves it open.
        grid: the positions that tokens fold to, such as ``(14, 14)``, or 14 for such a square, where their number
            leaves it open.
        batch_size: how many photos of a list go through the model at once, and how many rows in the further passes of
            methods that need some. A batch that you make yourself is one pass, whatever its size.
        **about: what is known of the model, in place of what it says itself: ``preprocess``, ``labels``, ``scores``,
            ``feed``, ``detections``, ``embedding``, ``embed_text``, ``name`` and ``probabilities``, as in `Model`.

    Attributes:
        model: the model with all that is known of it.
        method, layer, targets, layout, grid, batch_size: as above.

    Raises:
        InvalidArgument: a value that breaks a rule; ``preprocess`` puts pixels where no `Preprocess` does.
        InvalidType: the model belongs to no framework that gradsight knows, or a value is of another type.
        UnknownName: there is no such method, layout, argument or model.
    """

    model: Model
    method: Methods
    layer: Layers
    targets: _Targets
    layout: str | None
    grid: tuple[int, ...] | None
    batch_size: int
    _model: UserModel
    _passes: Passes

    @whole()
    def __init__(
        self,
        model: ModelLike,
        *,
        method: Methods = "gradcam",
        layer: Layers = None,
        targets: _Targets = None,
        layout: str | None = None,
        grid: int | Sequence[int] | None = None,
        batch_size: int = _BATCH_SIZE,
        **about: Unpack[About],
    ) -> None:
        check_words(about, [*OPTIONS, *ABOUT], "Explainer")
        meant = as_model(model)
        known = told(meant, about)
        layout = optional("layout", layout, Choice(ORDERS, "layout"))
        batch_size = taken("batch_size", batch_size, Whole(1), "Pass 32.")
        grid = optional("grid", grid, GRID, "Pass 14 or (14, 14).")
        check_target(targets)
        user = in_backend(known)
        # For their errors alone, so that they come here and not with the first photo.
        methods_of(method)
        several(layer, "layer")
        # Past `__setattr__`, which refuses everything.
        vars(self).update(
            model=known,
            method=kept(method),
            layer=kept(layer),
            targets=kept(targets),
            layout=layout,
            grid=grid,
            batch_size=batch_size,
            _model=user,
            _passes=Passes(known, user, layout, grid, batch_size, Studies(), is_bare=meant.spec is None),
        )

    def __repr__(self) -> str:
        said = {name: getattr(self, name) for name in OPTIONS}
        # By identity: an array of targets that is compared with anything gives an array.
        if said["batch_size"] == _BATCH_SIZE:
            del said["batch_size"]
        told = "".join(f", {name}={value!r}" for name, value in said.items() if value is not None)
        return f"Explainer({self.model!r}{told})"

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.model.name

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class names by index; None where they are not known."""
        return self.model.labels

    @property
    def preprocess(self) -> PlacesPhotos | None:
        """What makes photos the model's input; None where only batches can be given."""
        return self._passes.preprocess

    @property
    def spec(self) -> ExplainSpec:
        """How it explains, as a value that can be pickled and written as JSON; ``explainer.model.spec`` says what."""
        # By names: a module can be neither written as JSON nor found in another copy of the model.
        layer = same_form(self.layer, names_of(self.layer, self._model.backend()))
        method = same_form(self.method, methods_of(self.method))
        return ExplainSpec(method, layer, self.targets, self.layout, self.grid, self.batch_size)

    @overload
    def __call__(
        self,
        inputs: Inputs,
        *,
        targets: _Targets = ...,
        method: MethodLike | None = ...,
        layer: LayerLike | None = ...,
        diagnose: bool = ...,
    ) -> Explanation: ...

    @overload
    def __call__(
        self,
        inputs: Inputs,
        *,
        targets: _Targets = ...,
        method: _Several[_M],
        layer: Layers = ...,
        diagnose: bool = ...,
    ) -> tuple[Explanation, ...]: ...

    @overload
    def __call__(
        self,
        inputs: Inputs,
        *,
        targets: _Targets = ...,
        method: Methods | None = ...,
        layer: _Several[LayerLike],
        diagnose: bool = ...,
    ) -> tuple[Explanation, ...]: ...

    @whole()
    def __call__(
        self,
        inputs: Inputs,
        *,
        targets: _Targets = None,
        method: Methods | None = None,
        layer: Layers = None,
        diagnose: bool = False,
    ) -> Explanation | tuple[Explanation, ...]:
        """Explain a batch or photos, several targets, layers and methods in one pass.

        Args:
            inputs: a batch as the model takes it, (n, ...), NumPy or tensor, a tuple or dict for several inputs; or a
                photo or a list of photos: paths, bytes, PIL images, or arrays (height, width, 3) of uint8, whose
                colours are RGB (OpenCV's are BGR: ``array[..., ::-1]``). Of several inputs, the one with most axes is
                the image that maps are drawn on, of equals the first: in a dict, whichever you put first. Maps of a
                video, (n, channels, frames, h, w) or (n, frames, 1 or 3, h, w), are (n, k, frames, h, w).
            targets: what to explain: a class (index or label), ``Top(k)``, ``Classes(...)``; ``Pixels(...)`` of a
                segmentation, ``Box(...)`` of a detector, ``Token(...)`` of a text, ``Similarity(...)``; ``Against``,
                ``Contrast``, ``Sum`` and ``Several`` of any of them; a list with one of them for each image; or a
                function from the model's output to (n,) scores. The top class by default.
            method: a method, or a list of them, instead of the explainer's own.
            layer: a layer's name, a module of the model, or a list of them, instead of the explainer's own.
            diagnose: check each map too, by running the model again on other images and with other weights, about
                thirty times for Grad-CAM and one target; what came of it are notes (docs/evaluate.md).

        Returns:
            An `Explanation`; for a list of methods or layers, here or in the explainer's own, a tuple of them: each
            layer with each method in turn, then the methods that look at several layers at once, then those of the
            input alone. With fewer than two layers, the former take the last good one of each resolution.

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        asked = asked_with(diagnose, asked_of(self, targets, method, layer))
        made = remembered(explained(self._passes, inputs, asked), self)
        return Explanations(made) if asked.several else made[0]

    def stream(
        self,
        photos: Iterable[P],
        *,
        batch_size: int | Literal["auto"] | None = None,
        targets: _Targets = None,
        method: Methods | None = None,
        layer: Layers = None,
        diagnose: bool = False,
    ) -> Stream[P]:
        """Explain any number of photos, in the memory of a few batches.

        They are read ahead by threads, and those that become inputs of one size pass the model together.

        >>> import numpy as np, torch, gradsight as gs
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        >>> photos = (np.full((9, 9, 3), value, np.uint8) for value in range(40))
        >>> with gs.Explainer(net, preprocess=gs.Preprocess(8)).stream(photos, batch_size=16) as stream:
        ...     print(sum(done.explanations[0].maps.shape[0] for done in stream))
        40

        Args:
            photos: paths, bytes, PIL images, arrays (height, width, 3) of uint8 in RGB, or `photos.Photo`.
            batch_size: how many photos pass the model at once; the explainer's own if None. ``"auto"`` takes the size
                that is quickest here, which it finds in the first batches.
            targets: as in a call, but the same for each photo: no list with one entry for each.
            method: as in a call.
            layer: as in a call.
            diagnose: as in a call.

        Returns:
            An iterator over one value for each photo, in their order: an `Explained`, with a tuple of explanations, or
            a `Failed`, with the error, which stops nothing. Its `close`, or the end of a ``with``, ends its threads.

        Raises:
            InvalidArgument: ``batch_size`` is none, or targets are a list.
        """
        asked = asked_with(diagnose, asked_of(self, targets, method, layer))
        return streamed(self._passes, photos, asked, self.batch_size if batch_size is None else batch_size)

    @whole()
    def layers(self, inputs: Inputs, targets: _Targets = None) -> list[Candidate]:
        """The layers that can be explained, the best first, each with the reason; the first is chosen by itself.

        Args:
            inputs: as in a call; the first image is run through the model once.
            targets: as in a call; a model without a row of class scores needs some.

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        return self._passes.ranked(inputs, self.targets if targets is None else targets)


def as_explainer(model: ModelLike | Explainer) -> Explainer:
    """An explainer as it is, or that of a model."""
    return model if isinstance(model, Explainer) else Explainer(model)
