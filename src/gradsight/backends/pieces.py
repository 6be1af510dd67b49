"""Many rows a few at a time, where a processor takes them quicker so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradsight.foreign import Array, Inputs
from gradsight.targets import ScoreSpec

if TYPE_CHECKING:
    from gradsight.backends.passes import ModelPass


class Piece(NamedTuple):
    """Some rows of a batch.

    Attributes:
        inputs: what goes into the model.
        targets: what is explained of these rows.
    """

    inputs: Inputs
    targets: ScoreSpec


def pieces(shared: ModelPass[Any], inputs: Inputs) -> Iterator[Piece]:
    """Rows for the targets of a pass, row j of which belongs to image j % n, in their order.

    It is one piece where another number of rows would not be quicker, or the rows belong together: those of a target
    that is a function of the whole output, or of a model in which images influence each other.
    """
    batches, n = shared.backend.batches, len(shared.scores)
    count = batches.count(inputs)
    parts = _parts(shared, inputs)
    if parts < 2:
        yield Piece(inputs, shared.targets.tiled(count // n))
        return
    marks = batches.by_image(inputs)
    # About as many rows in each: a last piece of one row would cost as much time as a few.
    for rows in np.array_split(np.arange(count), parts):
        some = batches.some(inputs, slice(int(rows[0]), int(rows[-1]) + 1), marks)
        yield Piece(some, shared.targets.of_images(rows % n))


def _parts(shared: ModelPass[Any], inputs: Inputs) -> int:
    batches = shared.backend.batches
    parts = -(-batches.count(inputs) // batches.rows_at_once(batches.image(inputs)))
    # How the model takes its rows is asked last: where nobody knows it yet, that takes a pass.
    return parts if parts > 1 and shared.targets.by_row and not shared.rows.apart else 1


def scores(shared: ModelPass[Any], inputs: Inputs) -> Array:
    """The scores of a pass's targets for other rows, (m, k)."""
    backend = shared.backend
    if _parts(shared, inputs) < 2:
        return shared.score(backend.outputs(inputs))
    found = [shared.score(backend.outputs(piece.inputs), piece.targets) for piece in pieces(shared, inputs)]
    return backend.ops.concat(found, axis=0)
