"""The method's maps of other images in the place of a case's own: with noise, mirrored, shifted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import by_copy, like, rounds
from gradsight.cases.case import Case
from gradsight.cases.scoring import Scoring
from gradsight.contracts import Floats, Probe
from gradsight.errors import InvalidArgument
from gradsight.foreign import Array


def looked_at(case: Case) -> tuple[Probe, Callable[[Probe], Floats]]:
    """What the method looked at, and the method.

    Raises:
        InvalidArgument: the case lacks one of them.
    """
    if case.probe is None or case.explain is None:
        raise InvalidArgument(
            "`probe` and `explain` of Case must be what the method looked at, and the method. Received: None. Pass "
            "both."
        )
    return case.probe, case.explain


def explained_again(case: Case, key: Hashable, count: int, make: Callable[[int], Array]) -> NDArray[np.float64]:
    """The raw maps of ``count`` versions of the batch: (count, n, k, *s).

    They pass the model ``batch_size`` rows at a time, one batch at least, and once for all methods that look together.

    Args:
        case: the maps of the batch as it is.
        key: what tells these versions apart from others.
        count: how many versions.
        make: from the number of a version to its images, (n, c, *positions).
    """
    probe, explain = looked_at(case)
    scoring, n = case.scoring, case.shape[0]

    def passes(looked: Probe) -> Iterator[Probe]:
        for some in rounds(count, n, scoring.probe.batch_size):
            yield from looked.in_pieces(scoring.ops.concat([make(i) for i in some], axis=0))

    found = scoring.together.maps((key, count), probe, explain, passes)
    return np.asarray(by_copy(found, n, np), np.float64)


def span(scoring: Scoring) -> NDArray[np.float64]:
    """How far white is from black in the model's own units: (c or 1, 1, ...), with the axes of one image."""
    levels = [np.asarray(level, np.float64) for level in (scoring.black, scoring.white)]
    found = np.abs(levels[1] - levels[0])
    axes = scoring.images.ndim - 1
    return found.reshape(-1, *(1,) * (axes - 1))


def noisy(scoring: Scoring, i: int, radius: float) -> tuple[Array, NDArray[np.float64]]:
    """The images with noise, and that noise as shares of the way from black to white, (c, *positions).

    Every value gets a share of its own, drawn evenly between ``-radius`` and ``radius``: the same for every image, and
    for a version of one number whatever else is drawn.
    """
    drawn = scoring.random(3, i).uniform(-radius, radius, tuple(scoring.images.shape[1:]))
    images = scoring.images
    return images + like((drawn * span(scoring))[None], images, scoring.ops), drawn


def moved(values: NDArray[np.floating], offset: int, axes: int) -> NDArray[np.floating]:
    """Values shifted by so many positions along each of the last ``axes``; the edge fills what becomes free."""
    for axis in range(-axes, 0):
        length = values.shape[axis]
        values = np.take(values, np.clip(np.arange(length) - offset, 0, length - 1), axis=axis)
    return values
