"""What the rows of a batch have to do with each other, found out by one more pass."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from gradsight.contracts import Rows
from gradsight.errors import GradsightError

_APART = 5e-3
"""By what share of what another image changes its scores an image must differ in other company. Another order of
operations gives less; statistics of a batch give much more."""

_ROUNDING = {True: 1e-2, False: 2e-5}
"""By what share of its largest score rounding may differ, in half precision or not."""

_MOST_EXTRAS = 4
"""Of so many inputs beside the image every choice is tried."""


def rows_of(shared_pass: Any) -> Rows:
    """Find out by another pass, of the first image beside another one or, where its neighbours differ much, alone.

    Its scores must be those that it had. Of inputs beside the image that could be one for each image or one for all,
    both are tried.

    Args:
        shared_pass: a `probe.ModelPass` of the batch.
    """
    backend, inputs = shared_pass.backend, shared_pass.inputs
    before = shared_pass.scored(shared_pass.outputs)
    half = "16" in str(backend.image(inputs).dtype)
    known, others = backend.alone.pop(backend.kind(inputs), None), _neighbours_differ(shared_pass)
    if others and known is not None and _equal(before, known[None], half):
        return Rows()
    answered = False
    for shared in _choices(backend.extras(inputs)):
        try:
            after = _scores_in_other_company(shared_pass, shared, alone=others and shared_pass.logits is not None)
        except GradsightError:  # the model cannot take them so
            continue
        answered = True
        if backend.draws or _equal(before, after, half):
            return Rows(shared)
    # Where no other batch passes at all, one image at a time is all that is known to.
    return Rows(apart=answered or len(shared_pass.scores) == 1)


def _neighbours_differ(shared_pass: Any) -> bool:
    """Whether the first image has others beside it that are not much like it."""
    images = shared_pass.backend.numpy(shared_pass.backend.image(shared_pass.inputs))
    return len(images) > 1 and bool(np.abs(images[1:] - images[:1]).mean() > 0.1 * images[0].std())


def _choices(extras: tuple[int, ...]) -> Iterator[frozenset[int]]:
    extras = extras[:_MOST_EXTRAS]
    for count in range(len(extras) + 1):
        yield from map(frozenset, combinations(extras, count))


def _scores_in_other_company(shared_pass: Any, shared: frozenset[int], *, alone: bool) -> Any:
    """The scores of the first image alone, or of it and others in a batch, (m, classes)."""
    backend, n = shared_pass.backend, len(shared_pass.scores)
    # Targets that are no classes are settled for n images.
    count = 1 if alone else 2 if shared_pass.logits is not None else max(n, 2)
    given = backend.row(shared_pass.inputs, 0, count, shared=shared)
    first = backend.image(given)[:1]
    others = [0.5 * first + 0.1] * (count - 1)  # in the range that images are in, whatever that is
    given = backend.with_image(given, backend.ops.concat([first, *others], axis=0), shared=shared)
    return shared_pass.scored(backend.outputs(given))


def _equal(before: Any, after: Any, half: bool) -> bool:
    """Whether the first of these rows of scores is the same in both batches, measured by how much the others differ."""
    first = before[0]
    if first.shape != after[0].shape:
        return False
    rest = np.concatenate([before[1:], after[1:]])
    spread, scale = (np.abs(x[np.isfinite(x)]).max(initial=0) for x in (rest - first, first))
    room = _APART * spread + _ROUNDING[half] * scale
    return np.allclose(first, after[0], rtol=0, atol=room, equal_nan=True)
