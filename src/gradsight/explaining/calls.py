"""A call of an explainer: photos pass the model a few at a time, all at once or as a stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from gradsight.checks import taken
from gradsight.contracts import Backend
from gradsight.errors import InvalidType, received
from gradsight.explaining.asked import Asked, check_for_all
from gradsight.explaining.assemble import explanations
from gradsight.explaining.inputs import Batch, Prepared, of_one_size, pieces_of
from gradsight.explaining.layer_choice import names_of
from gradsight.explaining.passes import Passes
from gradsight.explaining.stream import BATCH_SIZE, Stream
from gradsight.foreign import Inputs
from gradsight.locks import whole
from gradsight.photos import P
from gradsight.results.explanation import Explanation, joined


def explained(passes: Passes, inputs: Inputs, asked: Asked) -> tuple[Explanation, ...]:
    """One explanation of a batch, or of photos, for each layer and method.

    Args:
        passes: of the model.
        inputs: a batch, or photos.
        asked: what is explained.
    """
    backend = passes.user_model.backend()
    parts = backend.of_one_moment(lambda: _of_pieces(passes, backend, inputs, asked))
    # After the pieces, each of which has one size of its own, they are looked at together.
    of_one_size({part[0].input_size for part in parts if part}, inputs)
    # A batch that the user made stays as it came out: to join one part would copy its maps.
    return tuple(map(joined, zip(*parts, strict=True))) if len(parts) > 1 else tuple(parts[0])


def streamed(passes: Passes, photos: Iterable[P], asked: Asked, batch_size: int | str) -> Stream[P]:
    """Any number of photos, explained as they are asked for; see `Explainer.stream`."""
    # Before the stream is made, so that the error comes from the call and not from the first photo.
    if isinstance(photos, str | bytes | os.PathLike) or not isinstance(photos, Iterable):
        raise InvalidType(
            "`photos` must be photos one after the other: a list, a generator, anything that can be gone through. "
            f"{received(photos)} One photo goes into a list, [photo], and what is in a folder is found by "
            "gradsight.photos.find_photos([folder])."
        )
    explain = of_prepared(passes, asked)
    return Stream(photos, explain, passes.preparing(), taken("batch_size", batch_size, BATCH_SIZE, "Pass 32."))


def of_prepared(passes: Passes, asked: Asked) -> Callable[[Sequence[Prepared]], list[Explanation]]:
    """What explains photos that became inputs of one size, together: an explanation for each layer and method.

    Args:
        passes: of the model.
        asked: what is explained, the same of each photo.

    Raises:
        InvalidArgument: targets are a list with one for each image.
    """
    check_for_all(asked.targets)

    @whole()
    def explain(prepared: Sequence[Prepared]) -> list[Explanation]:
        backend = passes.user_model.backend()
        batch = passes.batch_of_prepared(prepared, backend)
        return backend.of_one_moment(lambda: _of_batch(passes, batch, asked))

    return explain


def _of_pieces(passes: Passes, backend: Backend, inputs: Inputs, asked: Asked) -> list[list[Explanation]]:
    parts, first = [], 0
    for piece in pieces_of(inputs, passes.batch_size):
        batch = passes.batch(piece, backend)
        if piece is not inputs:  # what counts images, such as a target for each, counts those of the call
            batch = batch._replace(total=len(inputs), first=first)
        parts.append(_of_batch(passes, batch, asked))
        first += batch.size
    return parts


def _of_batch(passes: Passes, batch: Batch, asked: Asked) -> list[Explanation]:
    names = names_of(asked.layers, batch.backend)
    return explanations(passes, batch, names, asked.methods, asked.targets, asked.finish)
