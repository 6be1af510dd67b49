"""The figure of a set of images, with its interval over images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Array, Function, Number, Whole

Values: TypeAlias = NDArray[np.float64]
"""(n,) figures, one an image; NaN where an image has none."""

Aggregate: TypeAlias = Callable[[NDArray[Any]], float]
"""From the figures of images, (n, ...), to that of the set."""

FEW = 6
"""With fewer images no paired test can reach 0.05: of 2^5 choices of signs two are as extreme as the best can be."""

DRAWN = 9999
"""Resamples and choices of signs, as SciPy has it: p is known to a twentieth of itself at 0.05."""

_DRAWN_OF_SETS = 1999

_STACKED = Array(tuple(range(1, 9)), "figures of images, (n, ...)")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The figure of a set of images, and where it would lie for other images of the kind.

    Attributes:
        mean: the mean of the images, or what the metric makes of them (`MaxBoxAcc`); NaN where no image has a value.
        low: the lower end; NaN where fewer than `FEW` images have a value: such an interval would promise too much.
        high: the upper end, likewise.
        n: how many images have a value.
        missing: how many have none.
    """

    mean: float
    low: float
    high: float
    n: int
    missing: int

    @property
    def few(self) -> bool:
        """Whether there are too few images for an interval."""
        return self.n < FEW


def interval(
    values: Sequence[float] | Values,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    aggregate: Aggregate | None = None,
    resamples: int | None = None,
) -> Interval:
    """The figure of a set of images with its bootstrap interval over images (BCa: Efron 1987).

    BCa corrects for bias and skew, which shares near 0 or 1 have; where it cannot be had, as where no single image
    changes the figure, percentiles are taken. Where all are equal nothing can be drawn, and the interval is the value
    itself: of hits and misses take `share`, which knows more.

    Args:
        values: (n,), one figure an image, or (n, ...) for an ``aggregate``; NaN where an image has none.
        confidence: the share of such intervals that hold the true figure, in [0.5, 0.9999].
        seed: of the resamples; the same seed gives the same interval.
        aggregate: what is made of the images, (n, ...) -> a number; the mean by default.
        resamples: how many are drawn; by default 9,999, and 1,999 for an ``aggregate``, which is slower.

    Raises:
        InvalidArgument: an argument is out of range.

    >>> interval([0, 1, 1, 0, 1, 1, 1, 0, 1, float("nan")])
    Interval(mean=0.6666666666666666, low=0.3333333333333333, high=0.8888888888888888, n=9, missing=1)
    """
    confidence = taken("confidence", confidence, Number(0.5, 0.9999), "Pass 0.95.")
    seed, drawn = taken("seed", seed, Whole(0)), optional("resamples", resamples, Whole(99, 10**6))
    figures = _stacked(values)
    if aggregate is None and figures.ndim > 1:
        raise InvalidArgument(f"`values` must be (n,) where there is no `aggregate`. {received(figures)}")
    of_set = _mean if aggregate is None else taken("aggregate", aggregate, Function())
    there = figures[~np.isnan(figures).any(axis=tuple(range(1, figures.ndim)))]
    missing = len(figures) - len(there)
    mean = float(of_set(there)) if len(there) else math.nan
    if len(there) < FEW:
        return Interval(mean=mean, low=math.nan, high=math.nan, n=len(there), missing=missing)
    low, high = _bounds(
        there, of_set, aggregate is None, confidence, (seed, drawn or (DRAWN if aggregate is None else _DRAWN_OF_SETS))
    )
    return Interval(mean=mean, low=low, high=high, n=len(there), missing=missing)


def share(
    values: Sequence[float] | Values, *, confidence: float = 0.95, seed: int = 0, resamples: int | None = None
) -> Interval:
    """The share of hits among images with its interval: `interval`, and of hits or misses alone the exact one.

    Six hits of six do not say that there is no miss, and to draw from them gives nothing but hits: there the interval
    of Clopper and Pearson (1934) is taken.

    Args:
        values: (n,), for each image 1 or 0, or the mean of some; NaN where it has none.
        confidence: see `interval`.
        seed: see `interval`.
        resamples: see `interval`.

    Raises:
        InvalidArgument: an argument is out of range.

    >>> found = share([1] * 6)
    >>> found.mean, round(found.low, 3), found.high
    (1.0, 0.541, 1.0)
    """
    figures = _stacked(values)
    if figures.ndim > 1 or ((figures < 0) | (figures > 1)).any():
        raise InvalidArgument(f"`values` must be (n,) in [0, 1]: hits, misses and means of some. {received(figures)}")
    found = interval(figures, confidence=confidence, seed=seed, resamples=resamples)
    if found.few or found.mean not in (0, 1):
        return found
    low, high = _exact(round(found.mean * found.n), found.n, confidence)
    return replace(found, low=low, high=high)


def _bounds(
    values: NDArray[Any], of_set: Aggregate, is_mean: bool, confidence: float, drawing: tuple[int, int]
) -> tuple[float, float]:
    from scipy import stats

    if (values == values[0]).all():
        return float(of_set(values)), float(of_set(values))
    seed, resamples = drawing
    # Of images by their numbers, so that figures of any shape stay together.
    sample, statistic = (np.arange(len(values)),), lambda rows: of_set(values[rows])
    if is_mean:
        sample, statistic = (values,), np.mean
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # What SciPy warns of, an interval that cannot be had, is seen by its NaN.
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                sample,
                statistic,
                n_resamples=resamples,
                vectorized=is_mean,
                confidence_level=confidence,
                method=method,
                random_state=np.random.default_rng(seed),  # its name before SciPy 1.15, and still taken
                batch=1000,
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)


def _exact(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """The interval of a share by Clopper and Pearson (1934)."""
    from scipy import stats

    exact = stats.binomtest(hits, n).proportion_ci(confidence)
    return float(exact.low), float(exact.high)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean())


def _stacked(values: object) -> Values:
    """Figures as float64. None at all is a set too: that of a metric which applied to no image."""
    empty = (isinstance(values, Sequence) and not values) or getattr(values, "shape", None) == (0,)
    return np.zeros(0) if empty else np.asarray(taken("values", values, _STACKED), np.float64)
