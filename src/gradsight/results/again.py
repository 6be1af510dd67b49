"""The same photo explained once more, for another class or by another method, by the explainer that made it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.targets import Classes

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

_SAME = 1e-3
"""Scores that differ by less of their size are the same: a pass in another batch may round them otherwise."""


class Explains(Protocol):
    """What is asked of an `Explainer` here."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class names by index."""

    def __call__(
        self, inputs: object, *, targets: Classes, method: str, layer: str | None = None
    ) -> Explanation | tuple[Explanation, ...]:
        """Explain a photo."""


class Origin:
    """Where an explanation came from.

    The explainer is not kept alive: an explanation that somebody keeps must not keep a model in memory.

    Args:
        explainer: what made it.
        load: makes such an explainer once more, where the name of its model says all of it; else None.

    Attributes:
        labels: the class names by index.
    """

    def __init__(self, explainer: Explains, load: Callable[[], Explains] | None) -> None:
        self.labels = explainer.labels
        self._explainer, self._load = weakref.ref(explainer), load
        self._loaded: Explains | None = None

    def explainer(self) -> Explains | None:
        """What made it, or its model loaded again; None where nothing says how."""
        # The one that is there first: it has the weights of now.
        found = self._explainer() or self._loaded
        if found is None and self._load is not None:
            found = self._loaded = self._load()
        return found


ORIGIN = "_origin"
"""The attribute of an explanation; no field, so that it is in no file, and no copy has it."""


def remember(explanation: Explanation, origin: Origin) -> None:
    """Let an explanation know where it came from."""
    vars(explanation)[ORIGIN] = origin


class Again:
    """One image of an explanation, and what else could be asked of its model.

    Args:
        explanation: which.
        image: which of its images.
        explainer: of the model; by default what made the explanation.

    Attributes:
        changed: the model no longer gives the score that the explanation has: it was trained or changed since.
    """

    def __init__(self, explanation: Explanation, image: int, explainer: Explains | None = None) -> None:
        if explainer is not None and not callable(explainer):
            raise InvalidType(f"`explainer` must be a gs.Explainer. {received(explainer)} Leave it out, or pass one.")
        self._explanation, self._image, self._given = explanation, image, explainer
        self.changed = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the model; empty where they are not known."""
        origin: Origin | None = vars(self._explanation).get(ORIGIN)
        found = getattr(self._given or origin, "labels", None)
        return tuple(found) if found else ()

    def of(self, index: int, method: str) -> Explanation:
        """The image explained for a class, by a method; the first target is that class.

        Raises:
            GradsightError: the photo or the model is not there, or the method does not fit it.
        """
        explainer = self._explainer()
        # The same layer, where there is one: else two maps would differ by more than their class.
        layer = self._explanation.layer if self._explanation.at == "layer" else None
        photo = self._explanation.photos[self._image]
        # What the explanation says is asked once more beside it, in the same pass.
        known = self._explanation.targets[self._image][0].index
        targets = Classes(index) if known is None else Classes(index, known)
        found = explainer(photo, targets=targets, method=method, layer=layer)
        one = found[0] if isinstance(found, tuple) else found
        if known is not None:
            before, now = float(self._explanation.scores[self._image, 0]), float(one.scores[0, -1])
            self.changed = abs(before - now) > _SAME * max(1.0, abs(before))
        return one

    def _explainer(self) -> Explains:
        if not self._explanation.photos:
            raise InvalidArgument(
                "this explanation was made from arrays, so that there is no photo to explain again. Give photos to an "
                "Explainer with a `preprocess`."
            )
        origin: Origin | None = vars(self._explanation).get(ORIGIN)
        found = self._given or (origin.explainer() if origin else None)
        if found is None:
            raise InvalidArgument(
                "the model of this explanation is not here: it was read from a file or a run, or its explainer is "
                "gone. Other classes and methods need it: explanation.widget(explainer)."
            )
        return found
