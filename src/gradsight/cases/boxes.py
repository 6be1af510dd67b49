"""How well boxes around the hot areas of maps fit the boxes of things, at many thresholds (arXiv:2007.04178)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.cases.case import Case


def swept(case: Case, thresholds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The overlaps of boxes at each threshold, (n, k, thresholds), of the largest area and the best of any area.

    Computed once for all metrics that ask for the same thresholds. 0 where nothing is over 0, since no box is drawn;
    NaN where no box is known, or the map is not finite.
    """
    kept = case.kept(("swept", thresholds), lambda: _swept(case, thresholds))
    return kept[0], kept[1]


def _swept(case: Case, thresholds: int) -> NDArray[np.float64]:
    fits = np.full((2, *case.shape, thresholds), np.nan)
    for at in case.pairs():
        boxes = np.asarray(case.boxes[at[0]][at[1]], np.float64).reshape(-1, 4) if case.boxes else np.zeros((0, 4))
        if not len(boxes) or not case.finite[at]:
            continue
        heat = np.clip(case.heat[at], 0, None)
        fits[:, *at] = imaging.swept(heat, boxes, thresholds) if heat.any() else 0
    return fits


def best_threshold(overlaps: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Whether each image's box fits at the threshold that is best for the set.

    Args:
        overlaps: (m, thresholds) of m images.
        least: the overlap from which on a box fits.

    Returns:
        (m,) of 0 and 1. The mean over images is the most that any one threshold for all of them reaches.
    """
    fits = overlaps >= least
    # The lowest of several that are best: the same for every order of the images.
    return fits[:, fits.sum(axis=0).argmax()].astype(np.float64)
