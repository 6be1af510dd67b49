"""Variants: functions that take a method and return one.

Each is also a word of the language in which methods are named: ``"smooth(gradcam)"``, ``"fuse(layercam, by='max')"``,
``"contrastive(layercam, rivals=5)"``, ``"scorecam(top=64)"``.
"""

from __future__ import annotations

import ast
import copyreg
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, TypeAlias

from gradsight.arrays import by_copy, principal, rounds
from gradsight.combining import ChannelProbe, against_rivals, fused
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, InvalidType, received, unknown
from gradsight.foreign import Array, Ops
from gradsight.layers import STAGES
from gradsight.names import as_registered
from gradsight.ranges import checked, options_of, read_options
from gradsight.registry import METHODS, Method, MethodFunction
from gradsight.rules import Choice, Number, Whole
from gradsight.written import by_name, options_in, read, written

MethodLike: TypeAlias = str | Method | Callable[[Probe, Ops], Array]


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
        if method.isidentifier() and method in METHODS:
            return METHODS[method]
        plain = as_registered(method, METHODS)
        return METHODS[plain] if plain.isidentifier() else read(plain, "method", _EXAMPLES, _built)
    if not callable(method):
        raise InvalidType(
            "`method` must be a method's name, such as 'gradcam', or a function (probe, ops) -> maps. "
            f"{received(method)}"
        )
    name = getattr(method, "__name__", type(method).__name__)
    return Method(name, method, name, "a function of yours")


_EXAMPLES = "'scorecam(top=64)' or 'smooth(gradcam)'"


def _built(node: ast.expr) -> Method:
    if isinstance(node, ast.Name):
        return METHODS[node.id]
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(node.args) > 1:
        raise ValueError
    options, name = options_in(node), node.func.id
    if name in VARIANTS:
        if not node.args:
            raise InvalidArgument(f"{name}(...) is a variant of a method: say of which, such as {name}(gradcam).")
        return VARIANTS[name](_built(node.args[0]), **read_options(name, VARIANTS[name], options))
    if name not in METHODS:
        raise unknown("method", name, [*METHODS, *VARIANTS], "`gradsight methods` lists them.")
    if node.args:
        raise ValueError
    return with_options(METHODS[name], **options)


def with_options(method: Method, /, **options: object) -> Method:
    """A method with some of its options set.

    Raises:
        UnknownName: it has no option of that name, or an option no such word.
        InvalidArgument: a value that its option does not take.
    """
    if not options:
        return method
    # Checked here, not at the first call: a name is read long before its method runs.
    options = read_options(method.name, method.function, options)
    return replace(
        method,
        name=written(method.name, **options),
        function=partial(method.function, **options),
        cost=partial(method.cost, **options),
    )


def _variant(
    name: str,
    title: str,
    method: Method,
    function: MethodFunction,
    cost: Callable[[int, int], int],
    /,  # an option may have any of these names
    **options: object,
) -> Method:
    """A method made of another one, with the options of the variant that are not its defaults."""
    return replace(
        method,
        name=written(name, method.name, **options),
        title=f"{title} {method.title}",
        function=function,
        cost=cost,
        # The gradient that it takes is not that of the score at the layer, where that is not said again.
        alphas=False,
        averaged=False,
    )


_VERSIONS = tuple((mirrored, factor) for mirrored in (False, True) for factor in (0.9, 1.0, 1.1))


def smooth(method: MethodLike) -> Method:
    """Average a method's maps over six versions of the image: mirrored or not, and 0.9, 1 and 1.1 times as strong.

    Maps of mirrored images are mirrored back. Each of the six versions costs as much as the method itself.

    >>> import gradsight as gs
    >>> gs.smooth("gradcam").cost(512, 1)  # for 512 channels and one target
    7
    """
    inner = as_method(method)

    def smoothed(probe: Probe, ops: Ops) -> Array:
        images = probe.image.activations
        total: Array = 0
        for some in rounds(len(_VERSIONS), len(images), probe.batch_size):
            chosen = [_VERSIONS[i] for i in some]
            # All versions of a round in one pass, as the batch size allows.
            copies = [factor * (ops.flip(images, axis=-1) if mirrored else images) for mirrored, factor in chosen]
            maps = by_copy(inner.function(probe.with_images(ops.concat(copies, axis=0)), ops), len(images), ops)
            for i, (mirrored, _) in enumerate(chosen):
                total = total + (ops.flip(maps[i], axis=-1) if mirrored else maps[i])
        return total / len(_VERSIONS)

    def cost(channels: int, targets: int) -> int:
        # The first pass finds the targets; each version of the image is then explained from the start.
        return 1 + len(_VERSIONS) * inner.cost(channels, targets)

    return _variant("smooth", "Smoothed", inner, smoothed, cost)


def eigen_smooth(method: MethodLike) -> Method:
    """Replace a method's sum over channels by the projection on the first principal direction of its channels' parts.

    For methods that add up their channels one by one, such as Grad-CAM; others cannot be taken apart.

    >>> import gradsight as gs
    >>> gs.eigen_smooth("layercam").title
    'Eigen-smoothed LayerCAM'

    Raises:
        InvalidArgument: the method looks at several layers or at the input; when it runs: it cannot be taken apart.
    """
    inner = as_method(method)
    if inner.at != "layer":
        raise InvalidArgument(f"eigen_smooth needs a method that looks at one layer. {received(inner.name)}")

    def smoothed(probe: Probe, ops: Ops) -> Array:
        # Each channel as an image of its own: the method then gives the part of each channel, not their sum.
        parts = inner.function(ChannelProbe(probe, ops), ops)
        n, c, *grid = probe.activations.shape
        parts = ops.reshape(parts, (n, c, -1, math.prod(grid)))
        samples = ops.permute_dims(parts, (0, 2, 3, 1))
        return ops.reshape(principal(samples, ops), (n, samples.shape[1], *grid))

    made = _variant("eigen_smooth", "Eigen-smoothed", inner, smoothed, inner.cost)
    return replace(made, alphas=inner.alphas)


@checked
def contrastive(
    method: MethodLike,
    *,
    rivals: Annotated[int, Whole(1)] = 3,
    strength: Annotated[float, Number(0, 10)] = 1.0,
) -> Method:
    """Explain each class against those that score most like it: its score minus their mean score.

    >>> import gradsight as gs
    >>> gs.contrastive("layercam", rivals=2).name
    'contrastive(layercam, rivals=2)'

    Args:
        method: the method.
        rivals: how many classes, at most.
        strength: the factor of their mean score.

    Raises:
        InvalidArgument: a value that its option does not take.
    """
    inner = as_method(method)
    options = {"rivals": rivals, "strength": strength}
    # The name holds only what differs from the default, so that equal methods have equal names.
    options = {key: value for key, value in options.items() if value != options_of(contrastive)[key]}

    def function(probe: Probe, ops: Ops) -> Array:
        return inner.function(against_rivals(probe, rivals, strength), ops)

    made = _variant("contrastive", "Contrastive", inner, function, inner.cost, **options)
    return replace(made, needs="class scores")


@checked
def fuse(method: MethodLike, *, by: Annotated[str, Choice(("mean", "max", "product"), "fusion")] = "mean") -> Method:
    """Put a method's maps of several layers together, each scaled to [0, 1] after its ReLU, at the image's size.

    >>> import gradsight as gs
    >>> gs.fuse("layercam", by="max").at
    'layers'

    Args:
        method: the method.
        by: ``"mean"``, ``"max"`` (LayerCAM, section III-D) or ``"product"`` (RefineCAM).

    Raises:
        UnknownName: there is no such fusion.
        InvalidArgument: ``by`` is no text.
    """
    return _fusing("fuse", "Fused", as_method(method), by, **({} if by == "mean" else {"by": by}))


def refine(method: MethodLike) -> Method:
    """Multiply a method's maps of several layers, as RefineCAM does (arXiv:2605.14641).

    >>> import gradsight as gs
    >>> gs.refine("gradcam").name
    'refine(gradcam)'
    """
    return _fusing("refine", "Refined", as_method(method), "product")


def _fusing(name: str, title: str, inner: Method, fusion: str, /, **options: object) -> Method:
    if inner.at != "layer":
        raise InvalidArgument(f"a method that looks at one layer can be fused over several. {received(inner.name)}")

    def function(probe: Probe, ops: Ops) -> Array:
        return fused([inner.function(layer, ops) for layer in probe.layers], fusion, probe, ops)

    def cost(channels: int, targets: int) -> int:
        return 1 + STAGES * (inner.cost(channels, targets) - 1)  # the layers share the first pass

    return replace(_variant(name, title, inner, function, cost, **options), at="layers")


VARIANTS: dict[str, Callable[..., Method]] = {
    function.__name__: function for function in (smooth, refine, contrastive, fuse, eigen_smooth)
}
METHODS.reserved = frozenset(VARIANTS)


copyreg.pickle(Method, by_name(as_method))
