"""What changes when a region is taken out of photos, or put into others: the heart of an audit.

That heat lies at a place says that the model looks there. Whether it decides by it is seen only when the place changes:
without it the class's probability should fall, and with it other photos should be taken for the class, more than with
the same place of any other photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.places import Box, pixels, wider
from gradsight.auditing.scoring import Pictures, Scorer
from gradsight.cached import cached_property
from gradsight.cases.imputing import imputed

Figures = NDArray[np.float64]

Boxes: TypeAlias = Sequence[Box]
"""The region in each photo of the class: the same in all, or where the thing is in each."""

MARGIN = 0.02
"""A region is taken out with so much more at each side: what is left of a mark would be smeared into its place."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Photos of a class and of others, as the model gets them: what a region is tried on.

    Attributes:
        scorer: of the model.
        target: the class.
        own: photos that the model takes for the class.
        others: photos that it takes for other classes.
        donors: as many photos of other classes, each beside another one, whose regions are put there for comparison.
    """

    scorer: Scorer
    target: int
    own: Pictures
    others: Pictures
    donors: Pictures

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what the model gets."""
        height, width = self.own.shape[2:]
        return height, width

    def probability(self, pictures: Pictures) -> Figures:
        """(n,): how probable the class is."""
        return self.scorer.probabilities(pictures)[:, self.target]

    def removed(self, boxes: Boxes) -> Figures:
        """(n,): how probable the class is for its photos without the region."""
        return self.probability(self.without(boxes))

    @cached_property
    def unchanged(self) -> Figures:
        """(n,): how probable the class is for its photos as they are."""
        return self.probability(self.own)

    def without(self, boxes: Boxes) -> Pictures:
        """The class's photos with the region filled from what is around it (linear imputation, arXiv:2202.00449)."""
        # One box for all is the rule, and one set of equations: a fortieth of the time.
        if len(set(boxes)) == 1:
            return self._filled(self.own, boxes[0])
        return np.concatenate([self._filled(self.own[i : i + 1], box) for i, box in enumerate(boxes)])

    def _filled(self, pictures: Pictures, box: Box) -> Pictures:
        # Smooth, and from all sides: a grey box would be a thing of its own.
        removed = np.zeros(self.size, bool)
        removed[pixels(wider(box, MARGIN), self.size)] = True
        # All photos at once, as channels of one: the equations are solved once for all of them.
        filled = imputed(pictures.reshape(-1, *self.size), removed)
        return filled.reshape(pictures.shape).astype(np.float32)

    def with_patches(self, boxes: Boxes) -> Figures:
        """(2, n): how probable the class is for others with its patches, and with those of others.

        Photo i of others gets the region of photo i of the class, beginning again where there are fewer; and beside
        it the same region of another photo.
        """
        # What is compared lies at the same place of the same photo, so that its own pixels count in neither.
        turns = np.arange(len(self.others)) % len(self.own)
        where = [boxes[int(i)] for i in turns]
        made = [put(source, self.others, where) for source in (self.own[turns], self.donors)]
        return np.stack([self.probability(each) for each in made])

    def alike(self, boxes: Boxes) -> float:
        """How much less the class's pixels vary there, from photo to photo, than those of other classes.

        1 where they are the same in every photo, 0 where they vary as much, down to -1 where only they vary.
        """
        # The same places in other photos, whatever is there.
        turns = [boxes[i % len(boxes)] for i in range(len(self.others))]
        own, others = _varies(self.own, boxes), _varies(self.others, turns)
        # By the larger: where others are the same in every photo there is nothing to divide by.
        return (others - own) / max(others, own, 1e-9)


def _varies(pictures: Pictures, boxes: Boxes) -> float:
    """How much the pixels in the regions vary from photo to photo."""
    size = (pictures.shape[2], pictures.shape[3])
    cut = [picture[(slice(None), *pixels(box, size))] for picture, box in zip(pictures, boxes, strict=True)]
    # Boxes that are cut at the photo's edge are smaller: what all have is compared.
    high, wide = (min(part.shape[axis] for part in cut) for axis in (1, 2))
    return float(np.stack([part[:, :high, :wide] for part in cut]).std(axis=0, dtype=np.float64).mean())


def put(source: Pictures, into: Pictures, boxes: Boxes) -> Pictures:
    """Photos with the regions of others in their own places."""
    made = into.copy()
    for i, box in enumerate(boxes):
        # At its own place: what a class looks at in a corner need mean nothing in the middle.
        rows, columns = pixels(box, (into.shape[2], into.shape[3]))
        made[i, :, rows, columns] = source[i, :, rows, columns]
    return made
