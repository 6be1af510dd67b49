"""The registries of methods and model sources. Each entry is added by a decorator in the file that defines it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

from gradsight.checks import taken
from gradsight.entries import Registry
from gradsight.foreign import Array, Ops
from gradsight.ranges import checked, options_of
from gradsight.rules import Choice, Each, Flag, Function, Text

Decorated = TypeVar("Decorated", bound=Callable[..., object])


if TYPE_CHECKING:
    from gradsight.contracts import Probe
    from gradsight.models.model import Model

MethodFunction: TypeAlias = "Callable[[Probe, Ops], Array]"
"""Makes maps (n, k, *s), raw and signed, from a probe."""

Scope = Literal["layer", "input", "layers"]
"""What a method looks at."""

ATTENTION = "attention over the layer's tokens"
"""What a method of attention ``needs``."""

_USUAL_CHANNELS = 512
_FEW_PASSES = 8
"""With so many passes a photo takes seconds, even on one core."""


def one_pass(_channels: int, _targets: int, **_options: object) -> int:
    """The cost of a method that needs the model's forward pass and at most the gradient at a layer."""
    return 1


@dataclass(frozen=True)
class Method:
    """A way to make maps from a probe.

    Attributes:
        name: what users type, such as ``"gradcam"`` or ``"smooth(gradcam)"``.
        function: ``(probe, ops) -> maps`` of shape (n, k, *s), raw and signed.
        title: the name in its paper, such as ``"Grad-CAM"``.
        source: where it comes from, such as ``"arXiv:1610.02391"``.
        needs: what it asks of the model beyond a layer with positions; empty when nothing.
        at: ``"layer"``: its maps are a layer's; ``"input"``: the image's own; ``"layers"``: of several layers at once.
        gradient: it needs the model's gradient.
        cost: ``(channels, targets) -> passes``: how many passes of the model one image takes, for a layer with so many
            channels and so many targets. A forward pass is one, of the whole model or of the part behind the layer. A
            backward pass from the scores to the image is one for each target; one that ends at the layer is not
            counted. Methods of several layers count four, as many as are chosen where none are named.
        control: it says nothing of the model: a method must do better than it.
        alphas: it takes the gradient of the target's score at its one layer. Then `Explanation.alphas` are the means of
            that gradient, which cost nothing more; else they are None.
        rectified: it takes gradients of the image that pass rectifiers by a rule (`Probe.rectified`). Its pass is then
            made for that from the start; a method that does not say so gets a further pass.
        averaged: each channel's weight is the mean of its gradient over positions (`Probe.alphas`). Where gradients
            differ by position, as behind Flatten and Dense, such a mean may mislead, which a note then tells.
    """

    name: str
    function: MethodFunction
    title: str
    source: str
    needs: str = ""
    at: Scope = "layer"
    gradient: bool = True
    cost: Callable[[int, int], int] = one_pass
    control: bool = False
    alphas: bool = False
    rectified: bool = False
    averaged: bool = False

    @property
    def attends(self) -> bool:
        """Whether it looks at the model's attention; a model without it has no such map."""
        return ATTENTION in self.needs

    @property
    def passes(self) -> str:
        """The cost in words, for c channels and k targets: ``"1"``, ``"c + 1"``, ``"2 k + 4"``."""
        many = 1 << 20  # over any number of channels, so that options such as top=64 are at their bound
        # The costs of all methods grow evenly, so that three values give the whole formula.
        first = self.cost(many, 1)
        by_channel, by_target = self.cost(many + 1, 1) - first, self.cost(many, 2) - first
        slopes = [
            f"{slope} {name}".removeprefix("1 ") for slope, name in ((by_channel, "c"), (by_target, "k")) if slope
        ]
        return " + ".join([*slopes, str(first - by_channel * many - by_target)])

    @property
    def costly(self) -> bool:
        """Whether it takes more than a few passes of a usual layer; `gradsight compare` then leaves it out."""
        return self.cost(_USUAL_CHANNELS, 1) > _FEW_PASSES

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Source:
    """Where models come from, such as timm.

    Attributes:
        name: the scheme before the colon in ``--model scheme:name``.
        function: ``(name, *, weights) -> Model``, or with ``size`` too.
        title: what it loads, in a few words.
        example: a full ``--model`` value that works.
        packages: the importable packages it needs; a function of no arguments where that may change.
        install: the command that installs it.
    """

    name: str
    function: Callable[..., Model]
    title: str
    example: str
    packages: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    install: str = ""

    def needs(self) -> tuple[str, ...]:
        """The packages that it needs now."""
        return self.packages() if callable(self.packages) else self.packages


METHODS: Registry[Method] = Registry("method", "gradsight.methods", "gradsight methods")
SOURCES: Registry[Source] = Registry("model source", "gradsight.models.sources", "gradsight models")


def without_gradient() -> list[str]:
    """The methods that need no gradient of the model, without the controls."""
    return [name for name, entry in METHODS.items() if not entry.gradient and not entry.control]


_METHOD = Function("a function (probe, ops) -> maps, defined below the decorator")
_SOURCE = Function("a function (name, *, weights) -> Model, defined below the decorator")
_COST = Function("a function (channels, targets, **options) -> passes")
SCOPES: tuple[Scope, ...] = ("layer", "input", "layers")


def method(
    name: str,
    *,
    title: str,
    source: str,
    needs: str = "",
    at: Scope = "layer",
    gradient: bool | Literal["rectified"] = True,
    cost: Callable[..., int] = one_pass,
    alphas: bool | Literal["averaged"] = False,
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(probe, ops) -> maps`` as a method; see `Method` for the arguments.

    Keyword-only arguments of the function are the method's options: ``"scorecam(top=64)"``. What they take is declared
    with them, ``top: Annotated[int, Whole(1)] = 64`` (`gradsight.rules`), and each call is held to it. ``cost`` gets
    them too: ``(channels, targets, **options) -> passes``. ``gradient="rectified"`` says that it takes gradients by
    `Probe.rectified`, and ``alphas="averaged"`` that these means are its weights.

    >>> import gradsight as gs
    >>> @gs.method("mean_map", title="Mean of the channels", source="an example", gradient=False)
    ... def mean_map(probe, ops):
    ...     maps = ops.mean(probe.activations, axis=1, keepdims=True)
    ...     return ops.broadcast_to(maps, (*probe.scores.shape, *maps.shape[2:]))
    """
    taken("at", at, Choice(SCOPES, "scope"))
    for argument, text in (("title", title), ("source", source), ("needs", needs)):
        taken(argument, text, Text())
    for argument, flag, word in (("gradient", gradient, "rectified"), ("alphas", alphas, "averaged")):
        taken(argument, flag == word or flag, Flag())
    taken("cost", cost, _COST)

    def made(function: MethodFunction) -> Method:
        bound = partial(cost, **options_of(function))
        facts = {"rectified": gradient == "rectified", "averaged": alphas == "averaged"}
        return Method(name, function, title, source, needs, at, bool(gradient), bound, alphas=bool(alphas), **facts)

    return _entering(name, made)


def control(
    name: str,
    *,
    title: str,
    source: str,
    needs: str = "",
    at: Scope = "layer",
    cost: Callable[..., int] = one_pass,
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(probe, ops) -> maps`` as a control: a method must do better than it to have said anything."""

    def made(function: MethodFunction) -> Method:
        bound = partial(cost, **options_of(function))
        return Method(name, function, title, source, needs, at, False, bound, control=True)

    return _entering(name, made)


def _entering(name: str, made: Callable[[MethodFunction], Method]) -> Callable[[Decorated], Decorated]:
    """A decorator that enters what is made of a function."""

    def enter(function: Decorated) -> Decorated:
        taken("function", function, _METHOD)
        # Here, and not in each method: no method can forget it.
        function = checked(function)
        METHODS.add(name, made(function))
        return function

    return enter


def source(
    name: str,
    *,
    title: str,
    example: str,
    packages: tuple[str, ...] | Callable[[], tuple[str, ...]] = (),
    install: str = "",
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(name, *, weights) -> Model`` as a model source.

    One that has an argument ``size`` too, (height, width) or None, builds the model for the size that is asked for.

    >>> import torch
    >>> import gradsight as gs
    >>> @gs.source("tiny", title="A linear model for examples", example="tiny:4")
    ... def tiny(name, *, weights=None):
    ...     return gs.Model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(int(name))))
    >>> gs.load_model("tiny:4").model[1].out_features
    4
    """
    if not callable(packages):
        taken("packages", packages, Each(Text(), range(99)))
    for argument, text in (("title", title), ("example", example), ("install", install)):
        taken(argument, text, Text())

    def enter(function: Decorated) -> Decorated:
        taken("function", function, _SOURCE)
        SOURCES.add(name, Source(name, cast("Callable[..., Model]", function), title, example, packages, install))
        return function

    return enter
