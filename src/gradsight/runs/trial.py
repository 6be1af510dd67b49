"""The first photos of a run, tried before anything is written: whether they can be explained, and how many at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from gradsight.errors import ImageError
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.inputs import Prepared
from gradsight.photos import out_of_memory, without_frames
from gradsight.runs.making import Making
from gradsight.runs.plan import Numbered


@dataclass(frozen=True)
class Trial:
    """What the first photos show.

    Attributes:
        batch_size: how many photos pass the model at once.
        layers: the layers that maps are of, as rows have them; empty where no photo could be explained.
    """

    batch_size: int
    layers: tuple[str, ...] = ()


FIRST = 32
"""So many photos are tried at most."""

_SHARE = 16
"""A trial explains one photo in so many of a run, which explains them again: of a short run it is all that it gains."""

_USUAL = 4
"""Taken untried where there is no room for a trial of it: most models on a processor are done with four."""

_COMPILED = 2048
"""Of so few photos a run takes less time than it takes to compile a model for another number of them."""

_SECONDS = 10.0
"""The batch size is looked for no longer: of a slow model a larger batch gains little."""


def tried(making: Making, photos: Sequence[Numbered], batch_size: int | None, count: int | None = None) -> Trial:
    """See that photos can be explained, and find the number that is quickest.

    Args:
        making: explains them.
        photos: the first ones of the run.
        batch_size: the number, where it is known; None where it is to be found.
        count: how many photos the run explains; None where nobody knows.

    Raises:
        GradsightError: no photo can be explained, and that is not for the photos.
    """
    found = _first(making, photos)
    if found is None:
        return Trial(batch_size or 1)
    first, layers = found
    return Trial(_quickest(making, photos, first, count) if batch_size is None else batch_size, layers)


def _quickest(making: Making, photos: Sequence[Numbered], first: Prepared, count: int | None) -> int:
    """How many photos like the first one pass the model at once quickest, as far as a trial pays in such a run."""
    if making.compiles_by_size and count is not None and count < _COMPILED:
        return 1  # for which the first photo has compiled it
    most = math.inf if count is None else count // _SHARE
    # Read as they are needed: most models on a processor are done with four.
    more = _alike(making, photos, first)
    ready: list[Prepared] = []
    size, began = BatchSize("auto"), time.monotonic()
    explained = 0
    while not size.settled and time.monotonic() - began < _SECONDS and explained + size.now <= most:
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
        explained += len(batch)
    untried = not size.settled and size.now <= _USUAL and explained + size.now > most
    size.end()
    return _USUAL if untried else size.now


def _first(making: Making, photos: Iterable[Numbered]) -> tuple[Prepared, tuple[str, ...]] | None:
    """The first photo that can be explained, with the layers of its maps; None where none can for what it is itself."""
    errors: list[Exception] = []
    for photo in photos:
        try:
            prepared = making.prepare(photo)
            rows = making.whole(photo, prepared)
        except ImageError:
            continue
        except Exception as error:
            if not out_of_memory(error):  # another photo may be smaller
                errors.append(without_frames(error))
        else:
            return prepared, tuple(dict.fromkeys(", ".join(row.layers) for row in rows))
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
