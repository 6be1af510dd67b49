"""The method's maps of other classes than the target."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.case import Case
from gradsight.cases.perturbing import looked_at
from gradsight.cases.unlearned import alike
from gradsight.targets import ScoreSpec
from gradsight.targets.resolved import Term

Which = Literal["least", "random"]


def alike_for_other(case: Case, which: Which, by: str, values: str) -> NDArray[np.float64]:
    """(n, k): how alike the maps are to those of another class; NaN for targets that are no classes.

    Args:
        case: the maps.
        which: the class with the lowest score, or one that is drawn.
        by: ``"spearman"`` or ``"ssim"``.
        values: for Spearman's correlation, whether maps are signed or their magnitudes are taken.
    """
    others = case.kept(("other classes", which), lambda: _maps(case, which))
    if others is None:
        return np.full(case.shape, np.nan)
    return case.known(alike(case, others[None], by, values)[0])


def _maps(case: Case, which: Which) -> NDArray[np.float32] | None:
    """(n, k, *s): the raw maps of the other class of each target; the forward pass is the one that there is."""
    probe, explain = looked_at(case)
    classes, logits = probe.targets.classes, probe.logits
    if classes is None or logits is None or logits.shape[1] < 2:
        return None
    # In the order of preference, so that the first that is not the target itself is the other class.
    drawn = case.scoring.random(4).permutation(logits.shape[1])
    order = np.argsort(logits, axis=1, kind="stable") if which == "least" else np.tile(drawn, (len(logits), 1))
    first, second = order[:, :1], order[:, 1:2]
    chosen = np.where(first == classes, second, first)
    columns = tuple((Term(classes=column),) for column in chosen.T)
    # Names are only told: the maps go into no explanation.
    targets = ScoreSpec(probe.targets.names, columns)
    found = case.scoring.together.maps(
        ("other classes", which), probe, explain, lambda one: [one.with_targets(targets)]
    )
    return found.astype(np.float32)
