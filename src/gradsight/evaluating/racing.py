"""A race of many ways to explain: all on few images, the losers dropped, the rest on more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.significance import beats

Arm = TypeVar("Arm")

Figures = NDArray[np.float64]
"""(n, metrics): what was measured of each image; NaN where there is none."""

Measure = Callable[[Sequence[Arm], range], Mapping[Arm, Figures]]
"""``(arms, images) -> figures``: measures some of the ways on some of the images."""

Tell = Callable[[str], None]
"""Is told in words what goes on."""


def silently(_words: str) -> None:
    """Tell nobody."""


FIRST = 8
"""Images of the first round: with fewer no paired test can tell two of them apart."""

TWINS = 1e-3
"""Ways whose figures differ by less, in spreads, on every image are one way: Grad-CAM and CAM on most networks."""

LEVEL = 0.05
"""A way that is worse than the leader with such a p is dropped."""


@dataclass(frozen=True)
class Criteria:
    """What is raced for.

    Attributes:
        metrics: their names.
        weights: (metrics,), positive; how much each counts.
        signs: (metrics,): 1 where higher values are better, -1 where lower ones are.
    """

    metrics: tuple[str, ...]
    weights: tuple[float, ...]
    signs: tuple[int, ...]

    def scaled(self, figures: Mapping[Arm, Figures]) -> Figures:
        """(metrics,): by how much each metric varies over ways and images, so that weights mean the same for all."""
        every = np.concatenate(list(figures.values()))
        # A metric without any value warns, and then has no say.
        with np.errstate(all="ignore"):
            spread = np.nanstd(every, axis=0) if len(every) else np.ones(len(self.metrics))
        return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)

    def utility(self, figures: Figures, scale: Figures) -> Figures:
        """(n,): one number for each image, the higher the better, in spreads; NaN where a metric has no value."""
        weights = np.array(self.weights) / sum(self.weights)
        return np.asarray((figures / scale * np.array(self.signs) * weights).sum(axis=1))


@dataclass(frozen=True)
class Round(Generic[Arm]):
    """One round of a race.

    Attributes:
        images: how many were measured by then.
        left: who is left after it, the best first.
    """

    images: int
    left: tuple[Arm, ...]


def race(
    arms: Sequence[Arm], count: int, measure: Measure[Arm], criteria: Criteria, tell: Tell = silently
) -> list[Round[Arm]]:
    """Find the best of many ways on ``count`` images, by successive halving (arXiv:1502.07943) with paired tests.

    Each round has twice the images of the one before, and half of the ways at most: those that a paired test finds
    worse than the leader go first, then those with the lowest means. Of ways with the same figures the first one stays:
    which of them leads is a matter of rounding, and what a test made of that would be no reason to prefer it.

    Args:
        arms: the ways, of which the first of several with the same figures is kept.
        count: how many images there are.
        measure: what measures some ways on some images.
        criteria: what is raced for.
        tell: is told before each round how many ways run on how many images.

    Returns:
        The rounds; the first of the last one's ``left`` is the winner.
    """
    left, done, rounds = list(arms), 0, list[Round[Arm]]()
    known: dict[Arm, Figures] = {arm: np.zeros((0, len(criteria.metrics))) for arm in arms}
    scale: Figures | None = None
    while done < count and (len(left) > 1 or not rounds):
        upto = min(count, 2 * done or FIRST)
        tell(f"{len(left)} ways on {upto - done} photos")
        made = measure(left, range(done, upto))
        known = {arm: np.concatenate([known[arm], made[arm]]) for arm in left}
        done = upto
        # Kept from the first round on: a race whose yardstick changes has no winner.
        scale = criteria.scaled(known) if scale is None else scale
        apart = _apart(known, scale)
        left = _survivors({arm: criteria.utility(known[arm], scale) for arm in apart})
        rounds.append(Round(done, tuple(left)))
    return rounds


def _apart(known: Mapping[Arm, Figures], scale: Figures) -> list[Arm]:
    """The ways without those that have the same figures as one before them."""
    kept: list[Arm] = []
    for arm, own in known.items():
        # Each by its own spread: the weights of the criteria say nothing of what is the same.
        if not any(
            np.allclose(own / scale, known[other] / scale, rtol=0, atol=TWINS, equal_nan=True) for other in kept
        ):
            kept.append(arm)
    return kept


def _survivors(utilities: Mapping[Arm, Figures]) -> list[Arm]:
    # One without any value can win nothing.
    means = {arm: float(np.nanmean(own)) for arm, own in utilities.items() if not np.isnan(own).all()}
    order = sorted(means, key=lambda arm: -means[arm])
    if len(order) < 2:
        return order or list(utilities)[:1]
    # A paired test, since all were measured on the same images, which differ more than ways do.
    best = utilities[order[0]]
    kept = [arm for arm in order if arm == order[0] or not beats(best, utilities[arm]).p < LEVEL]
    return kept[: max(1, (len(order) + 1) // 2)]
