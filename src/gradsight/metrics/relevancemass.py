"""Relevance mass accuracy."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.located import located, share_inside
from gradsight.metric_registry import metric
from gradsight.rules import Choice

_KEPT = ("absolute", "positive")


@metric(
    "relevancemass",
    title="Relevance mass accuracy",
    source="arXiv:2003.07258",
    measures="localisation",
    better="higher",
    range=(0, 1),
    needs=("regions",),
)
def relevancemass(
    case: Case, *, values: Annotated[str, Choice(_KEPT, "part of the values")] = "absolute"
) -> NDArray[np.float64]:
    """Take the share of the relevance that lies on the thing (eq. 1).

    The paper first makes relevance positive, in several ways. By magnitude evidence against the target counts as
    relevance too; of positive values alone this is the energy-based pointing game. Signed sums, which Quantus divides,
    leave [0, 1] and have no bound where they cancel.

    Args:
        case: the maps.
        values: ``"absolute"``: by their magnitude; ``"positive"``: those below 0 are left out.
    """
    amounts = np.abs(case.heat) if values == "absolute" else np.clip(case.heat, 0, None)
    return located(case, share_inside(case, amounts))
