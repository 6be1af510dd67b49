"""The models of a page: loaded, tried once, and known by the layers and classes that can be chosen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gradsight.checks import optional
from gradsight.errors import GradsightError, InvalidArgument, unknown
from gradsight.explaining.explainer import Explainer
from gradsight.imaging import read_image
from gradsight.layers import Candidate
from gradsight.pages.asked import Asked
from gradsight.pages.limits import Limits
from gradsight.photos import bundled_photo
from gradsight.registry import METHODS
from gradsight.rules import Text
from gradsight.targets import Top, class_name
from gradsight.variants import as_method

_LAYERS = 40
"""So many layers can be chosen of a model, the best first."""

_CHANNELS = 512
"""Of a layer that nobody looked at."""

VARIANTS = ("smooth(gradcam)", "eigen_smooth(gradcam)", "refine(layercam)")
"""Variants that can be chosen beside the methods."""


@dataclass(frozen=True, eq=False)
class Served:
    """A model of the page.

    Attributes:
        name: what it is called on the page, no other is called so.
        explainer: of the model.
        layers: what can be explained, the best first; empty where that could not be found.
        seconds: that a pass of it takes here, about.
    """

    name: str
    explainer: Explainer
    layers: tuple[Candidate, ...]
    seconds: float

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; empty where they are not known."""
        return self.explainer.labels or ()

    @property
    def classes(self) -> list[str]:
        """What the classes are called, each by a name that no other has; empty where they have no names."""
        return [class_name(i, self.labels) for i in range(len(self.labels))]

    def passes(self, asked: Asked) -> int:
        """About how many passes of the model an answer takes."""
        channels = {one.name: one.channels for one in self.layers}
        layers = asked.layers or tuple(channels)[:1]
        found = max([channels.get(name, _CHANNELS) for name in layers], default=_CHANNELS)
        each = [as_method(name).cost(found, asked.count) for name in asked.methods]
        return sum(each) * max(1, len(asked.layers))

    def check(self, asked: Asked, limits: Limits) -> None:
        """Check that an answer is not foreseen to take too long.

        Raises:
            InvalidArgument: it is.
        """
        asked.check(limits)
        foreseen = self.passes(asked) * self.seconds
        if foreseen > limits.seconds:
            raise InvalidArgument(
                f"That takes about {foreseen:.0f} seconds with {self.name}, over this page's limit of "
                f"{limits.seconds:.0f}. Choose a method of fewer passes, such as Grad-CAM, or fewer classes and layers."
            )


def ready(explainer: Explainer, name: str = "") -> Served:
    """A model, tried on the bundled photo, so that what cannot work is told before there is a visitor.

    Raises:
        GradsightError: it gives no class scores of a photo.
    """
    photo = read_image(bundled_photo().source)
    try:
        explainer(photo, targets=Top(1))
    except GradsightError as error:
        called = name or explainer.name
        raise InvalidArgument(f"The page shows models with class scores of a photo. Of {called}: {error}") from error
    # The second time: the first one traces, compiles and reads weights.
    begun = time.perf_counter()
    explainer(photo, targets=Top(1))
    seconds = time.perf_counter() - begun
    try:
        layers = tuple(one for one in explainer.layers(photo, targets=Top(1)) if one.good)[:_LAYERS]
    except GradsightError:  # then the layer is the one that is chosen by itself
        layers = ()
    return Served(name or explainer.name, explainer, layers, seconds)


def together(models: Sequence[Served]) -> dict[str, Served]:
    """Models by names that differ."""
    found: dict[str, Served] = {}
    for one in models:
        name, number = one.name, 2
        while name in found:
            name, number = f"{one.name} ({number})", number + 1
        found[name] = replace(one, name=name)
    return found


def model_of(models: Mapping[str, Served], name: str | None) -> Served:
    """A model by its name; the first where none is named.

    Raises:
        InvalidType: the name is no text.
        UnknownName: there is none of that name.
    """
    name = optional("model", name, Text())
    if not name:
        return next(iter(models.values()))
    if name not in models:
        raise unknown("model of this page", name, models)
    return models[name]


def methods() -> list[tuple[str, str]]:
    """(what is read, what is meant) of each method, quick ones first; controls, which say nothing, are left out."""
    known = [one for one in METHODS.values() if not one.control]
    first = sorted(known, key=lambda one: (one.name != "gradcam", one.costly, one.title))
    plain = [(f"{one.title} (slow)" if one.costly else one.title, one.name) for one in first]
    return [*plain, *((name, name) for name in VARIANTS)]
