"""Class sensitivity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.alike import BY, VALUES
from gradsight.cases.other_classes import alike_for_other
from gradsight.metric_registry import metric


@metric(
    "classsensitivity",
    title="Class sensitivity",
    source="after arXiv:1912.09818",
    measures="sanity",
    better="lower",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method, **_: method - 1,
)
def classsensitivity(
    case: Case, *, by: Annotated[str, BY] = "spearman", values: Annotated[str, VALUES] = "signed"
) -> NDArray[np.float64]:
    """Explain the least probable class: a map that stays says what is there, not why it is this class.

    How alike the map of the target and that of the class with the lowest score are, by the same forward pass, as in
    `logitrandomisation`. With two classes, and scores that are each other's negation, signed maps are too: -1. NaN
    where the target is no class, the model has one score alone, or a map is level or not finite.

    Args:
        case: the maps.
        by: ``"spearman"`` or ``"ssim"``, as in `randomisation`.
        values: ``"signed"`` or ``"absolute"``; for Spearman's correlation.
    """
    return alike_for_other(case, "least", by, values)
