"""What the rows of a batch have to do with each other, found out by one more pass."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from gradsight.contracts import Rows
from gradsight.errors import GradsightError

_APART = 5e-3
"""By what share of its largest score an image must differ in other company. Another order of operations, also that of
reduced precisions, gives less; statistics of a batch give much more."""

_MOST_EXTRAS = 4
"""Of so many inputs beside the image every choice is tried."""


def rows_of(shared_pass: Any) -> Rows:
    """Find out by another pass: the first image beside another one, or, where there are several, without the others.

    Its scores must be those that it had. Of inputs beside the image that could be one for each image or one for all,
    both are tried.

    Args:
        shared_pass: a `probe.ModelPass` of the batch.
    """
    backend, inputs = shared_pass.backend, shared_pass.inputs
    before = shared_pass.first_row(shared_pass.outputs)
    alone = backend.alone.pop(backend.kind(inputs), None)
    if len(shared_pass.scores) > 1 and alone is not None and _equal(before, alone):
        return Rows()
    answered = False
    for shared in _choices(backend.extras(inputs)):
        try:
            after = _scores_beside_another(shared_pass, shared)
        except GradsightError:  # the model cannot take them so
            continue
        answered = True
        if backend.draws or _equal(before, after):
            return Rows(shared)
    # Where no other batch passes at all, one image at a time is all that is known to.
    return Rows(apart=answered or len(shared_pass.scores) == 1)


def _choices(extras: tuple[int, ...]) -> Iterator[frozenset[int]]:
    extras = extras[:_MOST_EXTRAS]
    for count in range(len(extras) + 1):
        yield from map(frozenset, combinations(extras, count))


def _scores_beside_another(shared_pass: Any, shared: frozenset[int]) -> Any:
    """The first image's scores in another batch: of two for a single image, alone for several."""
    backend, inputs, n = shared_pass.backend, shared_pass.inputs, len(shared_pass.scores)
    image, ops = backend.image(inputs), backend.ops
    if n == 1:
        other = 0.5 * image + 0.1  # in the range that images are in, whatever that is
        given = backend.with_image(inputs, ops.concat([image, other], axis=0), 2, shared=shared)
    else:
        copies = 1 if shared_pass.logits is not None else n  # targets that are no classes are settled for n images
        given = backend.row(inputs, 0, copies, shared=shared)
    return shared_pass.first_row(backend.outputs(given))


def _equal(before: Any, after: Any) -> bool:
    scale = np.abs(before[np.isfinite(before)]).max(initial=0)
    return before.shape == after.shape and np.allclose(before, after, rtol=0, atol=_APART * scale, equal_nan=True)
