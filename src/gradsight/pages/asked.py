"""What a visitor asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradsight.checks import taken
from gradsight.errors import GradsightError, InvalidArgument
from gradsight.pages.limits import Limits
from gradsight.rules import Each, Text, Whole
from gradsight.targets import Classes, Top
from gradsight.targets.labels import AClass, class_index
from gradsight.variants import as_method

_MOST_TOP = 12
_MANY = range(1000)


@dataclass(frozen=True)
class Asked:
    """What is explained of a photo.

    Attributes:
        classes: indices or labels; empty for the model's best ones.
        top: how many of the best, where no classes are named.
        methods: by which methods.
        layers: at which layers; empty for the one that is chosen by itself.

    Raises:
        InvalidArgument, InvalidType: a value that is none of these.
        UnknownName: there is no such method.

    >>> Asked(classes=("tabby",)).targets
    Classes(which=('tabby',))
    """

    classes: tuple[int | str, ...] = ()
    top: int = 3
    methods: tuple[str, ...] = ("gradcam",)
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts, classes = Each(Text(), _MANY), Each(AClass(), _MANY)
        for name, rule in (("classes", classes), ("methods", texts), ("layers", texts)):
            object.__setattr__(self, name, tuple(taken(name, getattr(self, name), rule)))
        object.__setattr__(self, "top", taken("top", self.top, Whole(1, _MOST_TOP), "Pass 3."))
        if not self.methods:
            raise InvalidArgument("`methods` must name at least one method. Received: none. Choose gradcam.")
        for method in self.methods:
            as_method(method)

    @property
    def targets(self) -> Classes | Top:
        """What an `Explainer` is asked for."""
        return Classes(*self.classes) if self.classes else Top(self.top)

    @property
    def count(self) -> int:
        """How many classes are explained."""
        return len(self.classes) or self.top

    def within(self, labels: Sequence[str] | None) -> tuple[Asked, tuple[str, ...]]:
        """The same for a model of some classes, and what it does not know, in words: two models have two lists."""
        top = self.top if labels is None else min(self.top, max(1, len(labels)))
        known: list[int | str] = []
        unknown: list[str] = []
        for one in self.classes:
            try:
                known.append(class_index(one, labels, len(labels or ()) or 1 << 31))
            except GradsightError as error:
                unknown.append(str(error))
        if self.classes and not known:
            raise InvalidArgument(" ".join(unknown))
        return replace(self, classes=tuple(known), top=top), tuple(unknown)

    def check(self, limits: Limits) -> None:
        """Check that it is not too much for one answer.

        Raises:
            InvalidArgument: it asks for too many maps.
        """
        maps = self.count * len(self.methods) * max(1, len(self.layers))
        if maps > limits.maps:
            raise InvalidArgument(
                f"That is {maps} maps, over this page's limit of {limits.maps}: classes times methods times layers. "
                "Choose fewer of them."
            )
