"""Which classes use a point of a photo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.pages.answer import explained
from gradsight.pages.asked import Asked
from gradsight.pages.limits import Limits
from gradsight.pages.served import Served
from gradsight.results.explanation import Explanation
from gradsight.results.wording import position, share
from gradsight.rules import Whole
from gradsight.targets import Classes, TargetLike, Top

_BEST = 10
"""So many of the model's best classes are looked at, beside those that are named."""

_PIXELS = 1 << 16
"""Of the copy of the photo that maps are laid on: a point of it is finer than any layer's positions."""


@dataclass(frozen=True)
class Use:
    """How a class uses a point.

    Attributes:
        label: the class.
        score: of the class, a logit where the model has logits.
        heat: at the point, in [-1, 1]: 1 is as hot as the map is anywhere, below 0 speaks against the class.
        value: of the raw map there.
    """

    label: str
    score: float
    heat: float
    value: float


@dataclass(frozen=True, eq=False)
class Points:
    """Maps of many classes of one photo, in which points are looked up.

    Attributes:
        explanation: by one method at one layer.
    """

    explanation: Explanation

    def at(self, row: int, column: int) -> tuple[Use, ...]:
        """How each class uses a point, the one that it speaks for most first; empty where the model saw nothing of it.

        Args:
            row: in pixels of the photo, from 0.
            column: likewise.

        Raises:
            InvalidArgument: it lies beside the photo.
        """
        placed = self.explanation.placements[0]
        height, width = placed.image_size
        row, column = _inside("row", row, height), _inside("column", column, width)
        top, left, bottom, right = placed.seen
        if not (top <= row < bottom and left <= column < right):
            return ()
        small = placed.within(_PIXELS)
        at = int(row * small.image_size[0] / height), int(column * small.image_size[1] / width)
        values = small.to_image(self.explanation.maps[0])[:, at[0], at[1]]
        # Of the largest of both signs: what speaks against a class may be stronger than anything for it.
        largest = np.abs(self.explanation.maps[0]).reshape(len(values), -1).max(axis=1)
        heat = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
        scores, labels = self.explanation.scores[0], self.explanation.labels[0]
        found = [Use(labels[i], float(scores[i]), float(heat[i]), float(values[i])) for i in range(len(values))]
        return tuple(sorted(found, key=lambda use: -use.value))

    def words(self, row: int, column: int) -> str:
        """Where the point is, and which classes use it, in a sentence."""
        where = position((row, column), self.explanation.placements[0].image_size)
        uses = self.at(row, column)
        if not uses:
            return f"At {where} the model saw nothing: it lies outside of the part of the photo that it gets."
        # Under a tenth of a map's largest value is next to nothing, as the colours show it too.
        pro = [f"{use.label} ({share(use.heat)} of its hottest place)" for use in uses if use.heat >= 0.1][:3]
        con = [use.label for use in reversed(uses) if use.heat <= -0.1][:2]
        if not pro and not con:
            return f"At {where} is nothing that any of these classes uses."
        told = f"At {where} is what speaks for {', '.join(pro)}" if pro else f"At {where} nothing speaks for a class"
        return f"{told}; and against {', '.join(con)}." if con else f"{told}."


def points_of(served: Served, photo: Image.Image, asked: Asked, limits: Limits) -> Points:
    """The maps that points are looked up in: of the model's best classes and of those that are asked for.

    Args:
        served: the model.
        photo: upright RGB, of its full size.
        asked: of its methods and layers the first ones count.
        limits: what is taken on.

    Raises:
        GradsightError: it asks for too much, or for what the model does not have.
    """
    meant, _ = asked.within(served.explainer.labels)
    one = replace(meant, methods=meant.methods[:1], layers=meant.layers[:1])
    count = min(_BEST, len(served.labels) or _BEST)
    served.check(replace(one, classes=(), top=count), limits)
    try:
        targets: TargetLike = Top(count)
        found = explained(served, photo, one, targets, limits)[0]
    except InvalidArgument:  # fewer classes than that, which has no names
        found = explained(served, photo, one, Top(1), limits)[0]
    missing = [which for which in one.classes if which not in {target.index for target in found.targets[0]}]
    if missing:
        best = [target.index for target in found.targets[0] if target.index is not None]
        served.check(replace(one, classes=(*best, *missing)), limits)
        found = explained(served, photo, one, Classes(*best, *missing), limits)[0]
    return Points(found)


def _inside(name: str, value: object, length: int) -> int:
    found = taken(name, value, Whole(0), "Pass a pixel of the photo.")
    if found >= length:
        raise InvalidArgument(f"`{name}` must lie on the photo, from 0 to {length - 1}. {received(value)}")
    return found
