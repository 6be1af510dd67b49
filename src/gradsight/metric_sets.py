"""What a metric's values are to a set of images: figures or not, and hits or not.

Some metrics have a figure for a set of images alone, such as one that takes the threshold best for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.rules import Function

Decorated = TypeVar("Decorated", bound=Callable[..., object])

Together: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From the values of a set's m images and targets, (m, ...), to the figure of each, (m,)."""


def of_hits(function: Decorated) -> Decorated:
    """Say of a metric's function that each figure is a hit, 1, or a miss, 0, so that a set's is a share of hits.

    It stands below ``@metric``. No values could say so by themselves: a drop of 0 for each image is no row of misses.
    """
    function.of_hits = True  # type: ignore[attr-defined]  # read by `hits_of`
    return function


def hits_of(function: Callable[..., object]) -> bool:
    """Whether `of_hits` said so of a function."""
    return getattr(function, "of_hits", False)


class OfSets(Protocol):
    """A metric, as far as sets go."""

    @property
    def together(self) -> Together | None:
        """What makes figures of a set's values; None where a value is a figure."""


def of_sets(together: Together) -> Callable[[Decorated], Decorated]:
    """Say of a metric's function that its values, (n, k, ...), become figures with those of the whole set.

    It stands below ``@metric``. The mean of the figures is that of the set, and the figures are what is compared, image
    by image, with those of another method.

    Args:
        together: from the values of m images and targets, (m, ...), none of them NaN, to the figure of each, (m,).
    """
    taken("together", together, Function("a function from values (m, ...) to figures (m,)"))

    def mark(function: Decorated) -> Decorated:
        function.together = together  # type: ignore[attr-defined]  # read by `together_of`
        return function

    return mark


def together_of(function: Callable[..., object]) -> Together | None:
    """What `of_sets` said of a function."""
    return getattr(function, "together", None)


def figures(metric: OfSets, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The figures of a set's images and targets, (m,), from a metric's values of them, (m, ...).

    Those without a value, which is NaN, have no figure, and change that of no other.
    """
    held: NDArray[np.float64] = np.asarray(values, np.float64)
    if metric.together is None:
        return held
    known = ~np.isnan(held).any(axis=tuple(range(1, held.ndim)))
    made = np.full(len(held), np.nan)
    if known.any():
        made[known] = metric.together(held[known])
    return made
