"""Max-sensitivity."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.perturbing import explained_again, noisy
from gradsight.metric_registry import metric
from gradsight.rules import Number, Whole


@metric(
    "maxsensitivity",
    title="Max-sensitivity",
    source="arXiv:1901.09392",
    measures="stability",
    better="lower",
    range=(0, np.inf),
    needs=("method",),
    cost=lambda _targets, method, *, samples, **_: samples * method,
)
def maxsensitivity(
    case: Case,
    *,
    samples: Annotated[int, Whole(1)] = 10,
    radius: Annotated[float, Number(above=0)] = 0.02,
) -> NDArray[np.float64]:
    """Add a little noise, and see how far the map goes at most, as a share of the map itself (definition 3).

    max over noise I of |map(x + I) - map(x)| / |map(x)|, with Euclidean lengths of raw maps at the layer's resolution.
    The paper does not divide; maps of methods have no common unit, so that captum divides as this does. Every value of
    the picture gets noise of its own, evenly between ``-radius`` and ``radius`` of the way from black to white; the
    noise is the same for every image and method. The target stays that of the picture without noise (Quantus leaves out
    pictures of another class). NaN where the map is 0 everywhere (captum takes its length as 1 then) or not finite.

    Args:
        case: the maps.
        samples: how many times noise is drawn.
        radius: the most that a value is changed by.
    """
    return case.known(gone_far(case, samples, radius).max(axis=0))


def gone_far(case: Case, samples: int, radius: float) -> NDArray[np.float64]:
    """(samples, n, k): how far maps go with noise, as shares of their lengths; once for all metrics that ask."""

    def make() -> NDArray[np.float64]:
        again = explained_again(case, ("noise", radius), samples, lambda i: noisy(case.scoring, i, radius)[0])
        return apart(case, again)

    return case.kept(("gone far", samples, radius), make)


def apart(case: Case, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far other maps (r, n, k, *s) are from the case's own, as shares of its lengths: (r, n, k)."""
    away = others.reshape(len(others), *case.shape, -1) - case.flat
    lengths = np.linalg.norm(case.flat, axis=-1)
    distance = np.linalg.norm(away, axis=-1)
    return np.asarray(np.divide(distance, lengths, out=np.full(distance.shape, np.nan), where=lengths > 0))
