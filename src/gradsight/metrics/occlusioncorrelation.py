"""Rank correlation with occlusion."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.subsets import spearman
from gradsight.contracts import Floats
from gradsight.metric_registry import metric
from gradsight.registry import METHODS
from gradsight.rules import Number
from gradsight.variants import with_options


@metric(
    "occlusioncorrelation",
    title="Rank correlation with occlusion",
    source="arXiv:1610.02391",
    measures="faithfulness",
    better="higher",
    range=(-1, 1),
    needs=("logit",),
    cost=lambda _targets, _method, **options: with_options(METHODS["occlusion"], **options).cost(1, 1) - 1,
)
def occlusioncorrelation(
    case: Case,
    *,
    window: Annotated[float, Number(above=0, most=1)] = 0.2,
    stride: Annotated[float, Number(above=0, most=1)] = 0.1,
) -> NDArray[np.float64]:
    """Cover the picture window by window, and see whether the score falls most where the map is hottest (section 5.3).

    Spearman's correlation, over the positions of the input, of the map with an occlusion map: the mean loss of the
    score by the windows that cover a position, as the method ``occlusion`` has it. This is how the Grad-CAM paper
    measures faithfulness. The occlusion map is made once for all methods. NaN where either map is constant or not
    finite.

    Args:
        case: the maps.
        window: the windows' sides, as a share of the image's.
        stride: the steps between windows, as a share of the image's sides.
    """
    scoring, method = case.scoring, with_options(METHODS["occlusion"], window=window, stride=stride)

    def occluded() -> Floats:
        return scoring.numpy(method.function(scoring.probe, scoring.ops))

    other = scoring.kept(("occlusion", window, stride), occluded).reshape(*case.shape, -1)
    return case.known(spearman(case.heat.reshape(*case.shape, -1), other))
