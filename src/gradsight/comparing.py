"""Explain one photo by several methods, at several layers, for several classes: `gradsight.compare`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from PIL import Image

from gradsight import imaging
from gradsight.attention import NoAttention
from gradsight.checks import optional, taken
from gradsight.errors import ImageError
from gradsight.explaining.asked import methods_of
from gradsight.explaining.explainer import Explainer, as_explainer
from gradsight.explaining.inputs import PhotoLike
from gradsight.models.as_model import ModelLike
from gradsight.registry import METHODS, SCOPES, Method
from gradsight.results.comparison import SCALE, Comparison, Row
from gradsight.results.explanation import Explanation
from gradsight.targets import TargetLike
from gradsight.variants import MethodLike


def compare(
    photo: PhotoLike,
    model: ModelLike | Explainer = "demo",
    *,
    methods: Sequence[MethodLike] | None = None,
    layers: Sequence[str] | None = None,
    targets: TargetLike | None = None,
    scale: str = "own",
    colormap: str | None = None,
    opacity: str | float = "value",
) -> Comparison:
    """Explain one photo by several methods, at several layers, and for several classes.

    What is cheap runs in one pass. A method that does not fit the model costs its own row only, which says why.

    Args:
        photo: a path, bytes or a PIL image.
        model: a model source such as ``"demo"``, a path, what `load_model` gave, a module, or an `Explainer`.
        methods: their names; those that take a few passes of the model if not given.
        layers: their names; if not given, the one that is chosen by itself.
        targets: what to explain, as in `Explainer`: a column each.
        scale: see `Comparison`.
        colormap: see `Comparison`.
        opacity: see `Comparison`.

    Raises:
        GradsightError: no method worked (the error of the first one), the photo cannot be read, or there is no such
            method.

    >>> import numpy, torch
    >>> from PIL import Image
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(),
    ...                           torch.nn.Linear(64, 2))
    >>> model = Explainer(net.eval(), preprocess=imaging.Preprocess(size=(32, 32)), layer="0")
    >>> compare(Image.new("RGB", (40, 30)), model, methods=["gradcam", "layercam"], targets=[1])
    Comparison(2 rows: gradcam, layercam; labels=('class 1',))
    """
    taken("scale", scale, SCALE)
    # Before the model is loaded: the mistake would else show at the very end.
    check_drawing(colormap, opacity)
    chosen = methods_of(methods) if methods else chosen_methods()
    explainer = as_explainer(model)
    # Read once: each method would read the file again.
    picture, name = imaging.read_image(photo), _name_of(photo)
    if not methods:
        chosen = fitting(explainer, picture, chosen, layers, targets)
    found = [row for some in rows(explainer, picture, chosen, layers, targets) for row in some]
    return ordered(found, chosen, name, scale, colormap, opacity)


def ordered(
    found: Sequence[Row], methods: Sequence[Method], name: str, scale: str, colormap: str | None, opacity: str | float
) -> Comparison:
    """What `rows` gave as a comparison, in the order in which the methods were named."""
    # The cheap ones ran first, and together; the picture keeps the order in which they were named.
    order = [method.name for method in methods]
    in_order = sorted(found, key=lambda row: order.index(row.method.name))
    return Comparison(tuple(in_order), name, scale, colormap, opacity)


def chosen_methods(*, everything: bool = False) -> list[Method]:
    """The methods that take a few passes of the model, or all there are, in the order of the picture.

    >>> "gradcam" in [method.name for method in chosen_methods()]
    True
    """
    by_place = sorted(METHODS.values(), key=lambda method: SCOPES.index(method.at))
    return [method for method in by_place if everything or not method.costly]


def fitting(
    explainer: Explainer,
    photo: Image.Image,
    methods: Sequence[Method],
    layers: Sequence[str] | None = None,
    targets: TargetLike | None = None,
) -> list[Method]:
    """The methods without those of attention where the model has none over the layer's tokens."""
    if any(method.attends for method in methods):
        try:
            explainer([photo], method="attention", layer=list(_listed(layers)) if layers else None, targets=targets)
        except NoAttention:
            return [method for method in methods if not method.attends]
        except Exception:  # whatever else is wrong, each method's row says it
            return list(methods)
    return list(methods)


def rows(
    explainer: Explainer,
    photo: Image.Image,
    methods: Sequence[Method],
    layers: Sequence[str] | None = None,
    targets: TargetLike | None = None,
) -> Iterator[list[Row]]:
    """Explain a photo: first what is cheap, in one pass, then the rest method by method.

    Raises:
        ImageError: the photo cannot be prepared for the model.
    """
    # Each once: rows of the same layer would be the same.
    layer: list[str] | None = list(dict.fromkeys(_listed(layers))) if layers else None
    # One pass of the model serves all of them.
    cheap = [method for method in methods if not method.costly]
    if cheap:
        yield _together(explainer, photo, cheap, layer, targets)
    for method in methods:
        if method.costly:
            yield _together(explainer, photo, [method], layer, targets)


def _listed(layers: str | Sequence[str]) -> Sequence[str]:
    # A name is a sequence too, of letters.
    return [layers] if isinstance(layers, str) else layers


def _together(
    explainer: Explainer, photo: Image.Image, methods: list[Method], layer: list[str] | None, targets: TargetLike | None
) -> list[Row]:
    """One pass for all; where one of them spoils it, each by itself shows which one."""
    by_name = {method.name: method for method in methods}
    try:
        return [_of(by_name, e) for e in explainer([photo], method=methods, layer=layer, targets=targets)]
    # The photo is at fault, and with it every method.
    except ImageError:
        raise
    except Exception as error:  # whatever is wrong with a method, a bug of it too, must not cost the other rows
        if len(methods) == 1:
            return [Row(methods[0], error=error)]
        return [row for method in methods for row in _together(explainer, photo, [method], layer, targets)]


def _of(by_name: Mapping[str, Method], explanation: Explanation) -> Row:
    return Row(by_name[explanation.method], explanation)


def check_drawing(colormap: str | None, opacity: str | float) -> None:
    """Hold a colour map and an opacity to their rules before anything is explained.

    Raises:
        GradsightError: there is no such colour map or opacity.
    """
    # By looking the map up: only the catalogue knows its names.
    imaging.colormap(optional("colormap", colormap, imaging.NAME) or imaging.DEFAULT)
    taken("opacity", opacity, imaging.OPACITY, "Pass 0.5.")


def _name_of(photo: PhotoLike) -> str:
    return os.path.basename(os.fspath(photo)) if isinstance(photo, str | os.PathLike) else ""
