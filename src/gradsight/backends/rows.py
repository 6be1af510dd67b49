"""What the rows of a batch have to do with each other, found out by one more pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradsight.contracts import Rows
from gradsight.errors import GradsightError

if TYPE_CHECKING:
    from gradsight.backends.passes import ModelPass

_APART = 5e-3
"""By what share of what another image changes its scores an image must differ in other company. Another order of
operations gives less; statistics of a batch give much more."""

_ROUNDING = {True: 1e-2, False: 2e-5}
"""By what share of its largest score rounding may differ, where it is coarse or not."""

_STRONG = ((4.0, 1.0), (-1.0, 0.0))
_MILD = ((0.5, 0.1),)
"""Other images, as a factor of the first and what is added: a maximum over the batch is then another's; or if a model
takes no such values, one in the range that images are in."""

_MOST_EXTRAS = 4
"""Of so many inputs beside the image every choice is tried."""


def rows_of(shared_pass: ModelPass[Any]) -> Rows:
    """Find out by another pass, of the first image beside a stronger one and its negative.

    Its scores must be those that it had. Of inputs beside the image that could be one for each image or one for all,
    both are tried.

    Args:
        shared_pass: of the batch.
    """
    backend, inputs = shared_pass.backend, shared_pass.inputs
    before = shared_pass.scored(shared_pass.outputs)
    coarse = backend.is_coarse(backend.batches.image(inputs))
    answered = False
    for others in (_STRONG, _MILD):  # a model may refuse what no image is like
        for shared in _choices(backend.batches.extras(inputs)):
            try:
                after = _scores_beside(shared_pass, others, shared)
            except GradsightError:  # the model cannot take them so
                continue
            answered = True
            # Of a model that draws random numbers no two passes are equal, which says nothing of its rows.
            if backend.draws or _equal(before, after, coarse):
                return Rows(shared)
        if answered:
            break
    # Where no other batch passes at all, one image at a time is all that is known to.
    return Rows(apart=answered or len(shared_pass.scores) == 1)


def _choices(extras: tuple[int, ...]) -> Iterator[frozenset[int]]:
    extras = extras[:_MOST_EXTRAS]
    for count in range(len(extras) + 1):
        yield from map(frozenset, combinations(extras, count))


def _scores_beside(
    shared_pass: ModelPass[Any], others: Sequence[tuple[float, float]], shared: frozenset[int]
) -> NDArray[np.float64]:
    """The scores of the first image and of others made from it, (m, classes)."""
    backend, n = shared_pass.backend, len(shared_pass.scores)
    count = 1 + len(others)
    if backend.compiles_by_size:  # as many as in the pass, for which the model is compiled
        count = max(count, n)
    if shared_pass.logits is None:  # targets that are no classes are resolved for n images
        count = n * math.ceil(count / n)
    batches = backend.batches
    company = batches.row(shared_pass.inputs, 0, count, shared=shared)
    first = batches.image(company)[:1]
    images = [first, *(times * first + more for times, more in itertools.islice(itertools.cycle(others), count - 1))]
    company = batches.with_image(company, backend.ops.concat(images, axis=0), shared=shared)
    return shared_pass.scored(backend.outputs_again(shared_pass.forward, company))


def _equal(before: NDArray[np.float64], after: NDArray[np.float64], coarse: bool) -> bool:
    """Whether the first of these rows of scores is the same in both batches, measured by how much the others differ."""
    first = before[0]
    if first.shape != after[0].shape:
        return False
    changes = [np.abs(row - first).max() for row in (*before[1:], *after[1:])]
    spread = min((change for change in changes if np.isfinite(change)), default=0)
    room = _APART * spread + _ROUNDING[coarse] * np.abs(first[np.isfinite(first)]).max(initial=0)
    return np.allclose(first, after[0], rtol=0, atol=room, equal_nan=True)
