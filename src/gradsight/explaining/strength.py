"""Notes on a map that says little of the score: it is weak, or its layer is not where the score comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.results.note import Note
from gradsight.results.wording import share

_WEAK = 0.1
"""Positive parts of a map that add up to a smaller share of the standard deviation of the class scores are far weaker
than usual. Of Grad-CAM for the five best classes of the demo model on 12 photos of COCO and ImageNet they add up to 2.7
to 17 deviations at good layers, and to 0 to 0.04 before a normalisation that moves zero, where the map means nothing.
"""


def of_strength(values: NDArray[np.floating], logits: NDArray[np.floating]) -> list[Note]:
    """A note on a map in the unit of the score, gradients times activations, that is weak beside the class scores.

    Args:
        values: the map, (*s).
        logits: the class scores of its image, (classes,).
    """
    spread, strength = float(logits.std()), float(np.nan_to_num(values).clip(0, None).sum())
    # Of a map that is empty another note says so; of scores that are all the same there is nothing to compare with.
    if not 0 < strength < _WEAK * spread:
        return []
    # As a share: a reader knows neither the unit of the map nor that of the scores.
    said = (
        f"what speaks for the class in this map adds up to {share(strength / spread)} of the spread of the class scores"
    )
    why = "the layer may lie in a side branch, gradients may cancel in their mean, or the score may be saturated"
    return [
        Note(
            "weak_map",
            f"{said}, far less than usual: {why}; diagnose=True tells which, and without layer= a good one is chosen",
            f"{said}, far less than usual: {why}; --diagnose tells which, and without --layer a good one is chosen",
        )
    ]


BYPASSED = Note(
    "bypassed",
    "no layer of this model is one that all of the score passes, and something bypasses this one: the map shows only "
    "what goes through it; diagnose=True measures how much that is",
    "no layer of this model is one that all of the score passes, and something bypasses this one: the map shows only "
    "what goes through it; --diagnose measures how much that is",
)
