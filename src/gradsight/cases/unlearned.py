"""The method's maps where layers of the model have lost what they learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.alike import ranks_alike, structure_alike
from gradsight.cases.case import Case
from gradsight.cases.perturbing import looked_at
from gradsight.contracts import Floats, Probe
from gradsight.errors import ModelError

Order = Literal["cascading", "independent"]


def alike_after(case: Case, order: Order, steps: int, by: str, values: str) -> NDArray[np.float64]:
    """(n, k): how alike maps are to those of the model with other weights, on average over the steps.

    A step whose map is not finite is left out; NaN where all are, or the case's own map is not finite.

    Args:
        case: the maps.
        order: whether the layers of a step lose their weights beside those of all steps before, or alone.
        steps: in how many parts the layers are taken, from the output on.
        by: ``"spearman"`` or ``"ssim"``.
        values: for Spearman's correlation, whether maps are signed or their magnitudes are taken.
    """
    others = case.kept(("unlearned", order, steps), lambda: _maps(case, order, steps))
    return case.known(_mean(alike(case, others, by, values)))


def alike(case: Case, others: NDArray[np.float32], by: str, values: str) -> NDArray[np.float64]:
    """How alike other maps (r, n, k, *s) of the same pictures are to the case's own: (r, n, k).

    By ``"ssim"`` maps are compared as they are drawn, which says nothing of a map that is 0 or negative everywhere.
    """
    if by == "spearman":
        return ranks_alike(case.maps, others, values)
    pairs = [replace(case, maps=one) for one in others]
    found = structure_alike(case.shown, np.stack([one.shown for one in pairs]))
    unknown = ~np.stack([one.finite for one in pairs]) | ~case.shown.any(axis=tuple(range(2, case.shown.ndim)))
    return np.where(unknown, np.nan, found)


def _mean(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of what is known along the first axis."""
    known = ~np.isnan(found)
    total, count = np.where(known, found, 0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def _maps(case: Case, order: Order, steps: int) -> NDArray[np.float32]:
    """(steps, n, k, *s): the raw maps of each step.

    Raises:
        ModelError: no weight of the model can be replaced.
    """
    probe, explain = looked_at(case)
    scoring, lost, maps = case.scoring, list[str](), []
    # The scores of all steps: another method that looks at the same passes may have been the one that made them.
    scores = scoring.kept(("scores unlearned", order, steps), dict[tuple[str, ...], list[Floats]])

    def passes(looked: Probe) -> Iterator[Probe]:
        seen = scores[tuple(lost)] = []
        for other in looked.randomised_in_pieces(lost, scoring.seed):
            seen.append(scoring.numpy(other.scores))
            yield other

    for part in _parts(probe.weighted, steps):
        lost = [*lost, *part] if order == "cascading" else part
        found = scoring.together.maps(("unlearned", order, steps, *lost), probe, explain, passes)
        maps.append(found.astype(np.float32))
    before = scoring.unchanged()
    if all(np.array_equal(np.concatenate(seen).astype(np.float64), before) for seen in scores.values()):
        raise ModelError(
            "none of this model's weights could be replaced without changing the model itself: its scores stay the "
            "same. Leave the metrics of randomised weights out."
        )
    return np.stack(maps)


def _parts(groups: Sequence[Sequence[str]], steps: int) -> list[list[str]]:
    """The layers in parts of about as many, those nearest to the output first; no more parts than layers."""
    backwards = list(reversed(groups))
    edges = np.linspace(0, len(backwards), min(steps, len(backwards)) + 1).round().astype(int)
    return [[name for group in backwards[a:b] for name in group] for a, b in itertools.pairwise(edges)]
