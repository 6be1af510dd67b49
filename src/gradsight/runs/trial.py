"""The first photos of a run, tried before anything is written: whether they can be explained, and how many at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import NamedTuple

from gradsight.errors import ImageError
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.inputs import Prepared
from gradsight.photos import out_of_memory, without_frames
from gradsight.runs.begun import Begun, Passed
from gradsight.runs.making import Making
from gradsight.runs.plan import Numbered


@dataclass(frozen=True)
class Trial:
    """What the first photos show.

    Attributes:
        batch_size: how many photos pass the model at once.
        layers: the layers that maps are of, as rows have them; empty where no photo could be explained.
        begun: what the run need not do again.
    """

    batch_size: int
    layers: tuple[str, ...] = ()
    begun: Begun = field(default_factory=Begun, compare=False)


FIRST = 32
"""So many photos are tried at most."""


@dataclass(frozen=True)
class Worth:
    """What a trial of batch sizes is worth to a run.

    Attributes:
        share: one photo in so many of the run is tried at most: of a short run more would take all that it gains.
        usual: taken untried where there is no room for a trial of it: most models on a processor are done with four.
    """

    share: int = 16
    usual: int = 4


_ALONE = Worth()

_COMPILED = 2048
"""Of so few photos a run takes less time than it takes to compile a model for another number of them."""

_SECONDS = 10.0
"""The batch size is looked for no longer: of a slow model a larger batch gains little."""


def tried(
    making: Making,
    photos: Sequence[Numbered],
    batch_size: int | None,
    count: int | None = None,
    worth: Worth = _ALONE,
) -> Trial:
    """See that photos can be explained, and find the number that is quickest.

    Args:
        making: explains them.
        photos: the first ones of the run.
        batch_size: the number, where it is known; None where it is to be found.
        count: how many photos the run explains; None where nobody knows.
        worth: what it is worth to look for the number.

    Raises:
        GradsightError: no photo can be explained, and that is not for the photos.
    """
    first = _first(making, photos)
    if first is None:
        return Trial(batch_size or 1)
    begun = Begun({first.photo.turn: first.prepared}, {(first.photo.turn,): first.passed})
    size = _quickest(making, photos, first, begun, count, worth) if batch_size is None else batch_size
    return Trial(size, first.layers, begun.within(size))


def _quickest(
    making: Making, photos: Sequence[Numbered], first: _First, begun: Begun, count: int | None, worth: Worth
) -> int:
    """How many photos like the first one pass the model at once quickest, as far as a trial pays in such a run.

    What is done for it is noted in ``begun``.
    """
    if making.compiles_by_size and count is not None and count < _COMPILED:
        return 1  # for which the first photo has compiled it
    most = math.inf if count is None else count // worth.share
    # Read as they are needed: most models on a processor are done with four.
    more = _alike(making, photos, first)
    ready = [(first.photo, first.prepared)]
    size, began = BatchSize("auto"), time.monotonic()
    size.timed(1, first.seconds)
    place = explained = 1
    while not size.settled and time.monotonic() - began < _SECONDS and explained + size.now <= most:
        # The batches that a run of this size begins with, one after the other: they are not made again.
        ready += islice(more, max(0, place + size.now - len(ready)))
        # The same photos again where there are not so many: it is their number that takes time.
        batch = list(islice(cycle(ready), place, place + size.now))
        start = time.perf_counter()
        try:
            passed = making.explained([prepared for _, prepared in batch])
        except Exception as error:
            without_frames(error)
            break  # for want of memory, or for a photo: the run meets it again, and tells of it there
        begun.passed[tuple(photo.turn for photo, _ in batch)] = passed
        tried_size = size.now
        size.timed(len(batch), time.perf_counter() - start)
        explained += len(batch)
        place = place + tried_size if size.now == tried_size else 0
    untried = not size.settled and size.now <= worth.usual and explained + size.now > most
    size.end()
    begun.prepared.update((photo.turn, prepared) for photo, prepared in ready)
    return worth.usual if untried else size.now


class _First(NamedTuple):
    """The first photo that can be explained.

    Attributes:
        photo: it.
        prepared: it as the model's input.
        passed: what came of it alone.
        layers: those that its maps are of.
        seconds: how long the model took.
    """

    photo: Numbered
    prepared: Prepared
    passed: Passed
    layers: tuple[str, ...]
    seconds: float


def _first(making: Making, photos: Iterable[Numbered]) -> _First | None:
    """The first photo that can be explained; None where none can for what it is itself."""
    errors: list[Exception] = []
    for photo in photos:
        try:
            prepared = making.prepare(photo)
            start = time.perf_counter()
            passed = making.explained([prepared])
            seconds = time.perf_counter() - start
            rows = making.whole(photo, passed)
        except ImageError:
            continue
        except Exception as error:
            if not out_of_memory(error):  # another photo may be smaller
                errors.append(without_frames(error))
        else:
            layers = tuple(dict.fromkeys(", ".join(row.layers) for row in rows))
            return _First(photo, prepared, passed, layers, seconds)
    # In the same words for all: it is about what was asked for.
    if errors and len({str(error) for error in errors}) == 1:
        raise errors[0]
    return None


def _alike(making: Making, photos: Iterable[Numbered], first: _First) -> Iterator[tuple[Numbered, Prepared]]:
    """The photos behind the first one that become inputs of its size."""
    for photo in photos:
        if photo.turn <= first.photo.turn:
            continue
        try:
            prepared = making.prepare(photo)
        except Exception:
            continue
        if prepared.array.shape == first.prepared.array.shape:
            yield photo, prepared
