"""Equivariance under shifting."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.arrays import like
from gradsight.cases import Case
from gradsight.cases.perturbing import explained_again, moved
from gradsight.cases.subsets import pearson
from gradsight.foreign import Array
from gradsight.metric_registry import metric
from gradsight.rules import Number


@metric(
    "shifting",
    title="Equivariance under shifting",
    source="arXiv:2304.06715",
    measures="stability",
    better="higher",
    range=(-1, 1),
    needs=("method",),
    cost=lambda _targets, method, **_: 2 * method,
)
def shifting(case: Case, *, share: Annotated[float, Number(above=0, most=0.4)] = 0.05) -> NDArray[np.float64]:
    """Shift the picture a little, and see whether the map goes with it.

    The mean, over a shift towards the end of every axis and one towards its start, of Pearson's correlation of the map
    with that of the shifted picture, moved back, over the positions of the input that both have. Maps are at the
    input's size, signed. What becomes free is filled with the picture's edge. The target stays the same. NaN where a
    map is constant there or not finite.

    Args:
        case: the maps.
        share: how far, as a share of the picture's shortest side; one pixel at least.
    """
    scoring, axes = case.scoring, len(case.size)
    offset = max(1, round(share * min(case.size)))
    images = scoring.numpy(scoring.images)

    def shifted(i: int) -> Array:
        return like(moved(images, (offset, -offset)[i], axes), scoring.images, scoring.ops)

    again = imaging.resize(explained_again(case, ("shifted", offset), 2, shifted), case.size)
    # From where it was to where it went: the same thing lies at both.
    before, after = ((Ellipsis, *(part,) * axes) for part in (slice(None, -offset), slice(offset, None)))
    pairs = ((case.heat[before], again[0][after]), (case.heat[after], again[1][before]))
    both = [pearson(*(x.reshape(*case.shape, -1) for x in pair)) for pair in pairs]
    return case.known(np.mean(both, axis=0))
