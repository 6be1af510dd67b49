"""The picture seen through a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import by_copy, like, rounds
from gradsight.cases.case import Case
from gradsight.cases.removal import emptied
from gradsight.cases.scoring import Scale
from gradsight.errors import InvalidArgument
from gradsight.foreign import Array


def seen_through(case: Case, targets: Sequence[int], baseline: str) -> Array:
    """The images, each seen through its map of one target after another: (len(targets) * n, c, *positions).

    The map is as it is drawn, `Case.shown`: where it is 1 the picture is as it was, where it is 0 there is the
    baseline.
    """
    scoring, ops = case.scoring, case.scoring.ops
    images, empty = scoring.images, emptied(scoring, baseline)
    shown = like(np.stack([case.shown[:, target, None] for target in targets]), images, ops)
    return ops.reshape(images * shown + empty * (1 - shown), (-1, *images.shape[1:]))


def scores_through(case: Case, baseline: str, scale: Scale = "probability") -> NDArray[np.float64]:
    """(n, k): each target's score of the image seen through its map; one pass for all that ask a case for it."""

    def make() -> NDArray[np.float64]:
        found = case.scoring.by_target(1, lambda pairs: seen_through(case, [j for _, j in pairs], baseline), scale)
        return np.asarray(found[0])

    return case.kept(("seen through", baseline, scale), make)


def explained_through(case: Case, baseline: str) -> NDArray[np.float32]:
    """(n, k, *positions): the method's maps of the images seen through its maps, as they are drawn."""

    def make() -> NDArray[np.float32]:
        probe, explain = case.probe, case.explain
        n, k = case.shape
        if probe is None or explain is None:
            raise InvalidArgument("`probe` of Case must be what the method looked at. Received: None. Pass both.")
        maps = []
        for some in rounds(k, n, case.scoring.probe.batch_size):
            again = np.concatenate([explain(piece) for piece in probe.in_pieces(seen_through(case, some, baseline))])
            # Of each target's own version the map of that target.
            maps += [by_copy(again, n, np)[i, :, target] for i, target in enumerate(some)]
        return replace(case, maps=np.stack(maps, axis=1)).shown

    return case.kept(("explained through", baseline), make)
