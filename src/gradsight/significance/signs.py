"""Tests of two methods on the same images, by choices of signs, and Holm's correction for many such tests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradsight.checks import taken
from gradsight.errors import InvalidArgument
from gradsight.rules import Array, Choice, Whole
from gradsight.significance.bootstrap import DRAWN, FEW, Values

_SIDES = ("two-sided", "greater", "less")
_FIGURES = Array((1,), "figures of images, (n,)")

_AT_ONCE = 1 << 22
"""Sums of choices of signs that are held at once."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two methods on the same images.

    Attributes:
        difference: the mean of first minus second; NaN where no image has both.
        p: how often as large a difference comes about where neither is better on any image; NaN where none has both.
        n: how many images have both values.
        missing: how many lack one or both.
    """

    difference: float
    p: float
    n: int
    missing: int

    @property
    def few(self) -> bool:
        """Whether there are so few images that no difference could be told from chance at 0.05, however clear."""
        return self.n < FEW


@dataclass(frozen=True, kw_only=True)
class Pair(Paired):
    """Two of several methods, with a p for all pairs together.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        adjusted: p by Holm's correction over all pairs: to call all pairs under 0.05 different is wrong anywhere in one
            set of 20.
    """

    first: str
    second: str
    adjusted: float


def paired(
    first: Sequence[float] | Values,
    second: Sequence[float] | Values,
    *,
    alternative: str = "two-sided",
    seed: int = 0,
) -> Paired:
    """Whether one method's figures are better than another's on the same images, by choices of signs.

    Where neither is better on any image, each difference might as well have the other sign. So p is the share of the
    choices of signs with a mean as far from 0 (R. A. Fisher, The Design of Experiments, 1935): all choices where there
    are 13 images or fewer, else 9,999 drawn ones and the one that came about. Unlike Wilcoxon's signed ranks it tests
    the mean that is shown in tables, needs no rule for images where both are equal, which add nothing here, and is
    exact for figures of 0 and 1, of which most differences are equal (there it is McNemar's exact test).

    Args:
        first: (n,), one figure an image; NaN where there is none.
        second: as ``first``, of the same images in the same order.
        alternative: ``"greater"`` asks whether the first is larger, ``"less"`` whether it is smaller.
        seed: of the choices that are drawn.

    Returns:
        The mean difference and p. Images that lack one of the two are left out, and counted.

    Raises:
        InvalidArgument: they are not of as many images.
        UnknownName: there is no such alternative.

    >>> paired([3, 4, 5, 6, 7, 8], [2, 3, 4, 5, 6, 7])
    Paired(difference=1.0, p=0.03125, n=6, missing=0)
    """
    alternative = taken("alternative", alternative, Choice(_SIDES, "alternative"))
    return _tested(_differences(first, second)[:, None], alternative, taken("seed", seed, Whole(0)))[0]


def all_pairs(values: Mapping[str, Sequence[float] | Values], *, seed: int = 0) -> tuple[Pair, ...]:
    """Each two of several methods on the same images, with p corrected for their number (Holm 1979).

    Args:
        values: for each method its (n,) figures, one an image, in the same order; NaN where there is none.
        seed: of the choices of signs that are drawn.

    Returns:
        The pairs in the methods' order.

    Raises:
        InvalidArgument: they are not of as many images.

    >>> pairs = all_pairs({"a": range(6), "b": range(1, 7), "c": range(2, 8)})
    >>> [(pair.first, pair.second, pair.p, pair.adjusted) for pair in pairs]
    [('a', 'b', 0.03125, 0.09375), ('a', 'c', 0.03125, 0.09375), ('b', 'c', 0.03125, 0.09375)]
    """
    names = list(itertools.combinations(values, 2))
    if not names:
        return ()
    differences = np.stack([_differences(values[one], values[other]) for one, other in names], axis=1)
    tests = _tested(differences, "two-sided", taken("seed", seed, Whole(0)))
    return tuple(
        Pair(first=one, second=other, adjusted=adjusted, **vars(test))
        for (one, other), test, adjusted in zip(names, tests, holm([test.p for test in tests]), strict=True)
    )


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Correct several p for their number (S. Holm, A simple sequentially rejective multiple test procedure, 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is under the one before it, or over 1. NaN
    stays, and does not count.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    known = sorted((p, at) for at, p in enumerate(ps) if not math.isnan(p))
    adjusted, least = [math.nan] * len(ps), 0.0
    for rank, (p, at) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[at] = least
    return tuple(adjusted)


def beats(
    values: Sequence[float] | Values, control: Sequence[float] | Values, *, better: str = "higher", seed: int = 0
) -> Paired:
    """Whether a method does better than a control on the same images: p of one side.

    Args:
        values: (n,) figures of the method.
        control: (n,) figures of the control, such as of random maps.
        better: ``"higher"`` or ``"lower"``: which figures are the better ones.
        seed: of the choices of signs that are drawn.

    Raises:
        InvalidArgument: they are not of as many images.
        UnknownName: ``better`` is another word.

    >>> beats([1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0]).p
    0.015625
    """
    side = {"higher": "greater", "lower": "less"}[taken("better", better, Choice(("higher", "lower"), "direction"))]
    return paired(values, control, alternative=side, seed=seed)


def _differences(first: object, second: object) -> Values:
    one, other = (
        np.asarray(taken(name, x, _FIGURES), np.float64) for name, x in (("first", first), ("second", second))
    )
    if len(one) != len(other):
        raise InvalidArgument(
            f"`second` must have one figure for each of `first`, of the same images. Received: {len(other)} figures "
            f"for {len(one)}. Put NaN where an image has none."
        )
    return one - other


def _tested(differences: Values, alternative: str, seed: int) -> list[Paired]:
    """The tests of (n, pairs) differences, by the same choices of signs: one product of matrices for all pairs."""
    there = ~np.isnan(differences)
    # A missing one adds nothing to any sum, whatever its sign: 0 is as good as to leave it out.
    known = np.where(there, differences, 0)
    sums, exact = known.sum(axis=0), 2 ** len(known) <= DRAWN
    chosen = _all_signs(len(known)) if exact else _drawn_signs(len(known), seed)
    # The sums of one choice differ in their last digits by the order that they are added in: equal ones count as equal.
    slack = 1e-12 * np.abs(known).sum(axis=0)
    counts = np.zeros(len(sums))
    for signs in np.array_split(chosen, max(1, len(chosen) * len(sums) // _AT_ONCE)):
        mirrored = signs @ known
        if alternative == "two-sided":
            counts += (np.abs(mirrored) >= np.abs(sums) - slack).sum(axis=0)
        else:
            side = 1 if alternative == "greater" else -1
            counts += (side * mirrored >= side * sums - slack).sum(axis=0)
    # Drawn choices are joined by the one that came about, so that p is never 0.
    ps = counts / len(chosen) if exact else (counts + 1) / (len(chosen) + 1)
    return [
        Paired(
            difference=float(total / n) if n else math.nan,
            p=float(p) if n else math.nan,
            n=int(n),
            missing=len(known) - int(n),
        )
        for total, p, n in zip(sums, ps, there.sum(axis=0), strict=True)
    ]


def _all_signs(n: int) -> Values:
    bits = np.arange(2**n)[:, None] >> np.arange(n)
    return np.where(bits & 1, -1.0, 1.0)


def _drawn_signs(n: int, seed: int) -> Values:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (DRAWN, n))
