"""Logit randomisation."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.alike import BY, VALUES
from gradsight.cases.other_classes import alike_for_other
from gradsight.metric_registry import metric


@metric(
    "logitrandomisation",
    title="Logit randomisation",
    source="arXiv:1912.09818",
    measures="sanity",
    better="lower",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method, **_: method - 1,
)
def logitrandomisation(
    case: Case, *, by: Annotated[str, BY] = "spearman", values: Annotated[str, VALUES] = "signed"
) -> NDArray[np.float64]:
    """Explain another class, drawn at random: a map that stays is not about the class (section 4).

    How alike the map of the target and that of the other class are, by the same forward pass. The class is the same for
    all images, by the seed; where it is the target itself the next one is drawn. NaN where the target is no class, the
    model has one score alone, or a map is level or not finite.

    Args:
        case: the maps.
        by: ``"spearman"`` or ``"ssim"``, as in `randomisation`.
        values: ``"signed"`` or ``"absolute"``; for Spearman's correlation.
    """
    return alike_for_other(case, "random", by, values)
