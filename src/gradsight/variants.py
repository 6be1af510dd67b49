"""Variants: functions that take a method and return one.

Each is also a word of the language in which methods are named: ``"smooth(gradcam)"``, ``"fuse(layercam, by='max')"``,
``"contrast(layercam, rivals=5)"``, ``"scorecam(top=64)"``.
"""

from __future__ import annotations

import ast
import copyreg
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np

from gradsight.arrays import by_copy, positive, principal, resize, rounds, to_unit
from gradsight.contracts import Probe
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, ModelError, received, unknown
from gradsight.foreign import Ops
from gradsight.ranges import checked, options_of, read_options
from gradsight.registry import METHODS, Method, as_registered
from gradsight.rules import Choice, Number, Whole
from gradsight.targets import ScoreSpec, Term

MethodLike = str | Method | Callable[..., Any]


def as_method(method: MethodLike) -> Method:
    """A method from its name, such as ``"smooth(gradcam)"``, or from a function ``(probe, ops) -> maps``.

    Raises:
        UnknownName: there is no method, variant or option of that name.
        InvalidArgument: the name cannot be read.
        InvalidType: neither a name nor a function.
    """
    if isinstance(method, Method):
        return method
    if isinstance(method, str):
        written = as_registered(method, METHODS)
        return METHODS[written] if written.isidentifier() else _read(written)
    if not callable(method):
        raise InvalidType(
            "`method` must be a method's name, such as 'gradcam', or a function (probe, ops) -> maps. "
            f"{received(method)}"
        )
    name = getattr(method, "__name__", type(method).__name__)
    return Method(name, method, name, "a function of yours")


def _read(text: str) -> Method:
    """``"fuse(scorecam(top=64), by='max')"`` as a method. Only names, calls and constants are read; nothing is run."""
    try:
        return _built(ast.parse(text.strip(), mode="eval").body)
    except GradsightError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise InvalidArgument(
            f"`method` must be a name, or a name with options, such as 'scorecam(top=64)' or 'smooth(gradcam)'. "
            f"{received(text)}"
        ) from None


def _built(node: ast.expr) -> Method:
    if isinstance(node, ast.Name):
        return METHODS[node.id]
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(node.args) > 1:
        raise ValueError
    options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    name = node.func.id
    if len(options) < len(node.keywords) or "None" in options:  # one twice, or **
        raise ValueError
    if name in VARIANTS:
        if not node.args:
            raise InvalidArgument(f"{name}(...) is a variant of a method: say of which, such as {name}(gradcam).")
        return VARIANTS[name](_built(node.args[0]), **read_options(name, VARIANTS[name], options))
    if name not in METHODS:
        raise unknown("method", name, [*METHODS, *VARIANTS], "`gradsight methods` lists them.")
    if node.args:
        raise ValueError
    return with_options(METHODS[name], **options)


def with_options(method: Method, **options: Any) -> Method:
    """A method with some of its options set.

    Raises:
        UnknownName: it has no option of that name, or an option no such word.
        InvalidArgument: a value that its option does not take.
    """
    if not options:
        return method
    options = read_options(method.name, method.function, options)
    return replace(method, name=_call(method.name, options), function=partial(method.function, **options))


def _call(*parts: Any) -> str:
    """``("fuse", "gradcam", {"by": "max"})`` -> ``"fuse(gradcam, by='max')"``."""
    name, *given, options = parts
    return f"{name}({', '.join([*given, *(f'{key}={value!r}' for key, value in options.items())])})"


def _variant(name: str, title: str, method: Method, function: Callable[[Any, Any], Any], **changed: Any) -> Method:
    options = changed.pop("options", {})
    return replace(
        method, name=_call(name, method.name, options), title=f"{title} {method.title}", function=function, **changed
    )


def smooth(method: MethodLike) -> Method:
    """Average a method's maps over six versions of the image: mirrored or not, and 0.9, 1 and 1.1 times as strong.

    Maps of mirrored images are mirrored back. Costs six passes more.
    """
    inner = as_method(method)
    versions = [(mirrored, factor) for mirrored in (False, True) for factor in (0.9, 1.0, 1.1)]

    def smoothed(probe: Probe, ops: Ops) -> Any:
        images = probe.image.activations
        total: Any = 0
        for some in rounds(len(versions), len(images), probe.batch_size):
            chosen = [versions[i] for i in some]
            copies = [factor * (ops.flip(images, axis=-1) if mirrored else images) for mirrored, factor in chosen]
            maps = by_copy(inner.function(probe.with_images(ops.concat(copies, axis=0)), ops), len(images), ops)
            for i, (mirrored, _) in enumerate(chosen):
                total = total + (ops.flip(maps[i], axis=-1) if mirrored else maps[i])
        return total / len(versions)

    return _variant("smooth", "Smoothed", inner, smoothed, passes=f"7 x ({inner.passes})", costly=True)


def eigen_smooth(method: MethodLike) -> Method:
    """Replace a method's sum over channels by the projection on the first principal direction of its channels' parts.

    For methods that add up their channels one by one, such as Grad-CAM; others cannot be taken apart.
    """
    inner = as_method(method)
    if inner.at != "layer":
        raise InvalidArgument(f"eigen_smooth needs a method that looks at one layer. {received(inner.name)}")

    def smoothed(probe: Probe, ops: Ops) -> Any:
        parts = inner.function(_Channels(probe, ops), ops)
        n, c, *grid = probe.activations.shape
        parts = ops.reshape(parts, (n, c, -1, math.prod(grid)))
        samples = ops.permute_dims(parts, (0, 2, 3, 1))
        return ops.reshape(principal(samples, ops), (n, samples.shape[1], *grid))

    return _variant("eigen_smooth", "Eigen-smoothed", inner, smoothed)


class _Channels:
    """A probe that shows each channel of another as an image of its own with one channel."""

    def __init__(self, probe: Probe, ops: Ops) -> None:
        n, c, *grid = probe.activations.shape
        self.name, self.spatial = probe.name, probe.spatial
        self.activations = ops.reshape(probe.activations, (n * c, 1, *grid))
        by_channel = ops.moveaxis(probe.gradients, 2, 1)
        self.gradients = ops.reshape(by_channel, (n * c, -1, 1, *grid))

    def __getattr__(self, name: str) -> Any:
        raise InvalidArgument(
            f"eigen_smooth takes a method apart into its channels, which needs one that is made of activations and "
            f"gradients alone, such as gradcam, gradcampp, xgradcam, hirescam or layercam; this one asks for `{name}`."
        )


@checked
def contrast(
    method: MethodLike,
    *,
    rivals: Annotated[int, Whole(1)] = 3,
    strength: Annotated[float, Number(0, 10)] = 1.0,
) -> Method:
    """Explain each class against those that score most like it: its score minus their mean score.

    Args:
        method: the method.
        rivals: how many classes, at most.
        strength: the factor of their mean score.

    Raises:
        InvalidArgument: a value that its option does not take.
    """
    inner = as_method(method)
    options = {"rivals": rivals, "strength": strength}
    options = {key: value for key, value in options.items() if value != options_of(contrast)[key]}
    return _variant(
        "contrast",
        "Contrastive",
        inner,
        lambda probe, ops: inner.function(towards_difference(probe, rivals, strength), ops),
        needs="class scores",
        options=options,
    )


def towards_difference(probe: Probe, rivals: int, strength: float) -> Probe:
    """The same pass, each class explained against the ``rivals`` other classes with the nearest scores.

    The score is that of the class minus ``strength`` times the mean score of its rivals; where there are fewer other
    classes, all of them are its rivals.

    Raises:
        ModelError: the targets are not classes, or there is only one.
    """
    classes, logits = probe.targets.classes, probe.logits
    if classes is None or logits is None:
        raise ModelError(
            "classes can be set against their rivals; these targets are not classes. Use the plain method."
        )
    if logits.shape[1] < 2:
        raise ModelError("the model has one class, and nothing to set it against. Use the plain method.")
    rivals = min(rivals, logits.shape[1] - 1)
    rows = np.arange(len(classes))[:, None, None]
    distance = np.abs(logits[:, None, :] - logits[rows[..., 0], classes][..., None])
    distance[rows, np.arange(classes.shape[1])[None, :, None], classes[..., None]] = np.inf
    nearest = np.argsort(distance, axis=-1, kind="stable")
    columns = tuple(
        (*column, *(Term(-strength / rivals, classes=nearest[:, j, i]) for i in range(rivals)))
        for j, column in enumerate(probe.targets.columns)
    )
    return probe.with_targets(ScoreSpec(probe.targets.names, columns))


@checked
def fuse(
    method: MethodLike, *, by: Annotated[str, Choice(("mean", "max", "product"), "way to fuse")] = "mean"
) -> Method:
    """Put a method's maps of several layers together, each scaled to [0, 1] after its ReLU, at the image's size.

    Args:
        method: the method.
        by: ``"mean"``, ``"max"`` (LayerCAM, section III-D) or ``"product"`` (RefineCAM).

    Raises:
        UnknownName: there is no such way.
        InvalidArgument: ``by`` is no text.
    """
    return _fusing("fuse", "Fused", as_method(method), by, {} if by == "mean" else {"by": by})


def refine(method: MethodLike) -> Method:
    """Multiply a method's maps of several layers, as RefineCAM does (arXiv:2605.14641)."""
    return _fusing("refine", "Refined", as_method(method), "product", {})


def _fusing(name: str, title: str, inner: Method, by: str, options: dict[str, Any]) -> Method:
    if inner.at != "layer":
        raise InvalidArgument(f"a method that looks at one layer can be fused over several. {received(inner.name)}")

    def function(probe: Probe, ops: Ops) -> Any:
        return fused([inner.function(layer, ops) for layer in probe.layers], by, probe, ops)

    return _variant(name, title, inner, function, at="layers", options=options)


_WAYS: dict[str, Callable[[Sequence[Any], Any], Any]] = {
    "mean": lambda maps, ops: ops.mean(ops.stack(maps, axis=0), axis=0),
    "max": lambda maps, ops: ops.max(ops.stack(maps, axis=0), axis=0),
    "product": lambda maps, ops: ops.prod(ops.stack(maps, axis=0), axis=0),
}


def fused(maps: Sequence[Any], by: str, probe: Probe, ops: Ops) -> Any:
    """Maps (n, k, *s) of several layers as one (n, k, *positions of the image) in [0, 1]."""
    size = probe.image.activations.shape[2:]
    axes = range(-len(size), 0)
    scaled = [to_unit(resize(positive(m, ops), size, ops), axes, ops) for m in maps]
    return to_unit(_WAYS[by](scaled, ops), axes, ops)


VARIANTS: dict[str, Callable[..., Method]] = {
    function.__name__: function for function in (smooth, refine, contrast, fuse, eigen_smooth)
}
METHODS.reserved = frozenset(VARIANTS)


def _reduced(method: Method) -> Any:
    """How a method is pickled: a name, with options and variants, says all of it; a function of the user's is one."""
    try:
        known = as_method(method.name)
    except GradsightError:
        known = None
    if known is not None and (known.title, known.source) == (method.title, method.source):
        return as_method, (method.name,)
    return Method, tuple(vars(method).values())


copyreg.pickle(Method, _reduced)
