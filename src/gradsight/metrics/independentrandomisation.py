"""Model parameter randomisation (independent)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.alike import BY, VALUES
from gradsight.cases.unlearned import alike_after
from gradsight.metric_registry import metric
from gradsight.rules import Whole


@metric(
    "independentrandomisation",
    title="Model parameter randomisation (independent)",
    source="arXiv:1810.03292",
    measures="sanity",
    better="lower",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method, *, steps, **_: 1 + steps * method,
)
def independentrandomisation(
    case: Case,
    *,
    by: Annotated[str, BY] = "spearman",
    values: Annotated[str, VALUES] = "signed",
    steps: Annotated[int, Whole(1)] = 5,
) -> NDArray[np.float64]:
    """Take what one part of the model has learned away at a time, and see whether the map notices (section 3).

    As `randomisation`, but every part alone gets random weights, all others keep theirs: low is good only as far as the
    part matters for the score, so that figures are higher than those of the cascade, and compare methods on one model.

    Args:
        case: the maps.
        by: ``"spearman"`` or ``"ssim"``.
        values: ``"signed"`` or ``"absolute"``; for Spearman's correlation.
        steps: in how many parts of about as many layers the model is taken; a part is a pass of the method.
    """
    return alike_after(case, "independent", steps, by, values)
