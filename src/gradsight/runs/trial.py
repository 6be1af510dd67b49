"""The first photos of a run, tried before anything is written: whether they can be explained, and how many at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice

from gradsight.errors import ImageError
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.inputs import Prepared
from gradsight.photos import out_of_memory, without_frames
from gradsight.runs.making import Making
from gradsight.runs.plan import Numbered

FIRST = 32
"""So many photos are tried at most."""

_SECONDS = 10.0
"""The batch size is looked for no longer: of a slow model a larger batch gains little."""


def tried(making: Making, photos: Sequence[Numbered], batch_size: int | None) -> int:
    """See that photos can be explained, and find the number that is quickest.

    Args:
        making: explains them.
        photos: the first ones of the run.
        batch_size: the number, where it is known; None where it is to be found.

    Returns:
        How many photos pass the model at once.

    Raises:
        GradsightError: no photo can be explained, and that is not for the photos.
    """
    first = _first(making, photos)
    if batch_size is not None or first is None:
        return batch_size or 1
    # Read as they are needed: most models on a processor are done with four.
    more = _alike(making, photos, first)
    ready: list[Prepared] = []
    size, began = BatchSize("auto"), time.monotonic()
    while not size.settled and time.monotonic() - began < _SECONDS:
        ready += islice(more, max(0, size.now - len(ready)))
        # The same ones again where there are not so many: it is their number that takes time.
        batch = list(islice(cycle(ready or [first]), size.now))
        start = time.perf_counter()
        try:
            making.explained(batch)
        except Exception as error:
            without_frames(error)
            break  # for want of memory, or for a photo: the run meets it again, and tells of it there
        size.timed(len(batch), time.perf_counter() - start)
    size.end()
    return size.now


def _first(making: Making, photos: Iterable[Numbered]) -> Prepared | None:
    """The first photo that can be explained; None where none can for what it is itself."""
    errors: list[Exception] = []
    for photo in photos:
        try:
            prepared = making.prepare(photo)
            making.whole(photo, prepared)
        except ImageError:
            continue
        except Exception as error:
            if not out_of_memory(error):  # another photo may be smaller
                errors.append(without_frames(error))
        else:
            return prepared
    # In the same words for all: it is about what was asked for.
    if errors and len({str(error) for error in errors}) == 1:
        raise errors[0]
    return None


def _alike(making: Making, photos: Iterable[Numbered], first: Prepared) -> Iterator[Prepared]:
    """Photos that become inputs of the size of the first one."""
    for photo in photos:
        try:
            prepared = making.prepare(photo)
        except Exception:
            continue
        if prepared.array.shape == first.array.shape:
            yield prepared
