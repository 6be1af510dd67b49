"""Objects on the backgrounds of other classes, and their objects on its own: which of the two decides a class.

What a photo shows without its background is a thing on nothing, which no model was trained on: that the class's
probability falls there, or rises, may say more of the empty colour than of the background. Another class's background
is a photo of the model's own kind, and says what another class would say. Whatever cutting and pasting does by itself
is done as well where nothing should change: with photos of the class itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.scoring import Pictures, Scorer
from gradsight.cases.imputing import imputed

Regions = Sequence[NDArray[np.bool_]]
"""(n) of (h, w): where the object is on each photo."""

Figures = NDArray[np.float64]

FEWEST = 3
"""Of fewer photos, of the class or of others, nothing is exchanged."""

_ROUNDS = 3
"""Each photo is given the background of so many others."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Photos as the model gets them, and their objects.

    Attributes:
        pictures: the photos.
        regions: where the objects are.
        bare: the photos with the object filled from what is around it.
    """

    pictures: Pictures
    regions: NDArray[np.bool_]
    bare: Pictures

    @classmethod
    def of(cls, pictures: Pictures, regions: Regions) -> Cut:
        """Cut objects out of photos."""
        return cls(pictures, np.stack(regions), without_object(pictures, regions))

    def onto(self, which: NDArray[np.intp], other: Cut, where: NDArray[np.intp]) -> Pictures:
        """Objects of some photos, at their own places, on the backgrounds of others."""
        return np.where(self.regions[which][:, None], self.pictures[which], other.bare[where])


def without_object(pictures: Pictures, regions: Regions) -> Pictures:
    """Photos with the object filled from what is around it (linear imputation, arXiv:2202.00449)."""
    made = [imputed(picture, region) for picture, region in zip(pictures, regions, strict=True)]
    return np.stack(made).astype(np.float32)


def exchanged(scorer: Scorer, target: int, own: Cut, others: Cut, seed: int = 0) -> tuple[Figures, Figures] | None:
    """By how much a class's probability falls with the background of other classes, and with their object.

    Each more than with the background, or the object, of another photo of the class.

    Args:
        scorer: of the model.
        target: the class.
        own: photos that the model takes for it.
        others: photos that it takes for other classes.
        seed: of which photo is given what of which.

    Returns:
        (n,) and (n,), for each photo of the class; None where there are too few.
    """
    n, others_n = len(own.pictures), len(others.pictures)
    if min(n, others_n) < FEWEST:
        return None
    rng, every = np.random.default_rng((seed, target)), np.arange(n)
    falls = np.zeros((2, n))
    for turn in range(_ROUNDS):
        # Never its own: a photo put together again is no exchange.
        fellow = np.roll(every, 1 + turn % (n - 1))
        other = rng.permutation(np.resize(rng.permutation(others_n), n))
        made = (
            (own.onto(every, own, fellow), own.onto(every, others, other)),
            (own.onto(fellow, own, every), others.onto(other, own, every)),
        )
        for part, (same, strange) in zip(falls, made, strict=True):
            part += scorer.probabilities(same)[:, target] - scorer.probabilities(strange)[:, target]
    return falls[0] / _ROUNDS, falls[1] / _ROUNDS
