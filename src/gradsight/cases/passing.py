"""What of a score passes the positions of a layer, and what the gradient there says of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.cases.case import Case
from gradsight.cases.perturbing import looked_at
from gradsight.cases.removal import emptied
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops


@dataclass(frozen=True, eq=False)
class Passing:
    """How scores move from a blank picture, which has the mean colour everywhere, to the picture itself: (n, k) each.

    Attributes:
        through: the part of it by what the layer's positions give.
        beside: the part by all else: what bypasses the layer, and tokens that are no positions.
        expected: what ``through`` would be by the gradient at the layer alone.
    """

    through: NDArray[np.float64]
    beside: NDArray[np.float64]
    expected: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """The part of the way that passes the positions, from 0 to 1: 1 at a layer that nothing bypasses."""
        through, beside = np.abs(self.through), np.abs(self.beside)
        return _quotient(through, through + beside)

    @property
    def told(self) -> NDArray[np.float64]:
        """What the gradient says of the way, as a share of it: 1 where the score is linear in what the layer gives."""
        return _quotient(self.expected, self.through)


def passing(case: Case) -> Passing:
    """How scores move; two passes of the model, of the blank picture and from the layer on.

    The path from one picture to the other is that of integrated gradients (arXiv:1703.01365), cut at the layer: what
    its positions give is that of the blank picture, while all else stays that of the picture itself.
    """
    probe, _ = looked_at(case)
    scoring = case.scoring
    blank = probe.with_images(emptied(scoring, "mean"))
    scores, empty, between = (scoring.numpy(x).astype(np.float64) for x in _scores(probe, blank))
    expected = scoring.numpy(_expected(probe, blank, scoring.ops)).astype(np.float64)
    return Passing(scores - between, between - empty, expected)


def _scores(probe: Probe, blank: Probe) -> tuple[Array, Array, Array]:
    """The scores of the picture, of the blank one, and of the picture with what the layer gives of the blank one."""
    return probe.scores, blank.scores, probe.tail(blank.activations, traced=False)


def _expected(probe: Probe, blank: Probe, ops: Ops) -> Array:
    """(n, k): the gradient times what the layer gives more for the picture than for the blank one."""
    apart = probe.activations - blank.activations
    return ops.sum(probe.gradients * apart[:, None], axis=tuple(range(2, apart.ndim + 1)))


def _quotient(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0))
