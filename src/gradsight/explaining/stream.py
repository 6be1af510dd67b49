"""Any number of photos, explained in bounded memory: read ahead, grouped by size, and given back in their order."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Generic, TypeVar

from gradsight.closing import Closing
from gradsight.errors import MissingDependency, UnknownName
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.inputs import Prepared
from gradsight.explaining.read_ahead import Read, ReadAhead
from gradsight.photos import Explained, Failed, P, out_of_memory, without_frames
from gradsight.results.explanation import Explanation, of_image
from gradsight.results.explanations import Explanations
from gradsight.rules import Choice, Either, Rule, Whole

Made = TypeVar("Made")
"""What is made of one photo."""

BATCH_SIZE: Rule[int | str] = Either[int | str]((Whole(1), Choice(("auto",), "batch size")))

_MOST_PIXELS = 1 << 26
"""Of all photos that are kept decoded: photos of a camera would fill the memory before a batch of 32 is full."""

_FIRST = 4
"""So many are read before anything is known of how large they are."""

OF_ALL = (UnknownName, MissingDependency)
"""Errors about what was asked for: each photo of a batch would fail so again."""


class Batches(Closing[Made | Failed[P]], Generic[P, Made]):
    """One result, or a `Failed`, for each photo, in the photos' order, whatever is made of them.

    Nothing is read before the first is asked for. Of what is read, no more is kept than about two batches.

    Args:
        photos: any iterable.
        make: makes a result of each of a few photos that become inputs of one size: ``(photos, prepared) -> results``.
        prepare: reads a photo and makes the model's input of it.
        batch_size: how many pass the model at once, or ``"auto"``.
        block_of: the number of the block that a photo belongs to, of several one after the other: no batch has photos
            of two. So what is made of a block does not depend on those before it. None for one block of all.
    """

    def __init__(
        self,
        photos: Iterable[P],
        make: Callable[[Sequence[P], Sequence[Prepared]], Sequence[Made]],
        prepare: Callable[[object], Prepared],
        batch_size: int | str,
        block_of: Callable[[P], int] | None = None,
    ) -> None:
        self._make = make
        self._size = BatchSize(batch_size)
        self._block_of = block_of or (lambda _: 0)
        super().__init__(self._run(photos, prepare))

    @property
    def batch_size(self) -> int:
        """How many photos pass the model at once, as far as is known by now."""
        return self._size.now

    def _run(
        self, photos: Iterable[P], prepare: Callable[[object], Prepared]
    ) -> Generator[Made | Failed[P], None, None]:
        reading = ReadAhead(photos, prepare)
        waiting: deque[_Slot[P, Made]] = deque()
        try:
            while self._fill(reading, waiting):
                if waiting[0].outcome is None:
                    self._make_all(_group(waiting, self._size.now))
                while waiting and waiting[0].outcome is not None:
                    yield waiting.popleft().outcome  # type: ignore[misc]
            # The last of all: what the iterable gave before it failed is explained and given back.
            reading.raise_failure()
        finally:
            reading.close()

    def _fill(self, reading: ReadAhead[P], waiting: deque[_Slot[P, Made]]) -> bool:
        """Read photos until there is a batch of the oldest one's size, or no room for more; whether there are any.

        The oldest is the one that all others wait for: when there is no more room, its batch goes as it is.
        """
        while not (waiting and self._is_due(waiting)):
            # Twice the batch: one is explained while the next is read.
            reading.ahead(_room(waiting, 2 * self._size.now))
            read = reading.next()
            if read is None:
                break
            waiting.append(_Slot(read, self._block_of(read.photo)))
        reading.ahead(_room(waiting, 2 * self._size.now) if waiting else 0)  # meanwhile
        return bool(waiting)

    def _is_due(self, waiting: deque[_Slot[P, Made]]) -> bool:
        # Without room nothing more is read, and to wait for a full batch would be to wait for ever.
        if waiting[0].outcome is not None or _room(waiting, 2 * self._size.now) < 1:
            return True
        if waiting[-1].block != waiting[0].block:  # of the oldest one's block no more will come
            return True
        return len(_group(waiting, self._size.now)) == self._size.now

    def _make_all(self, slots: Sequence[_Slot[P, Made]]) -> None:
        """Take photos of one size together; where that fails, in parts, down to one by one."""
        start = time.perf_counter()
        try:
            prepared = [slot.prepared for slot in slots if slot.prepared is not None]
            made = self._make([slot.photo for slot in slots], prepared)
        except Exception as error:
            self._failed(slots, error)
            return
        self._size.timed(len(slots), time.perf_counter() - start)
        for slot, one in zip(slots, made, strict=True):
            slot.outcome, slot.prepared = one, None

    def _failed(self, slots: Sequence[_Slot[P, Made]], error: Exception) -> None:
        """Of a batch that failed, take each half: it may be for one photo alone, or for want of memory."""
        if out_of_memory(error):
            self._size.too_large()
        # Before the halves run, which need the memory that its frames hold.
        without_frames(error)
        # Halves, not one by one: one bad photo among 32 then costs about ten passes instead of 32.
        if len(slots) > 1 and not isinstance(error, OF_ALL):
            half = len(slots) // 2
            self._make_all(slots[:half])
            self._make_all(slots[half:])
            return
        for slot in slots:
            slot.outcome, slot.prepared = Failed(slot.photo, error), None


class Stream(Batches[P, Explained[P]]):
    """One `Explained` or `Failed` for each photo, in the photos' order; see `Explainer.stream`.

    Args:
        photos: any iterable.
        explain: explains a few photos that become inputs of one size.
        prepare: reads a photo and makes the model's input of it.
        batch_size: how many pass the model at once, or ``"auto"``.
    """

    def __init__(
        self,
        photos: Iterable[P],
        explain: Callable[[Sequence[Prepared]], Sequence[Explanation]],
        prepare: Callable[[object], Prepared],
        batch_size: int | str,
    ) -> None:
        def make(given: Sequence[P], prepared: Sequence[Prepared]) -> list[Explained[P]]:
            made = explain(prepared)
            return [Explained(photo, Explanations(of_image(one, i) for one in made)) for i, photo in enumerate(given)]

        super().__init__(photos, make, prepare, batch_size)


class _Slot(Generic[P, Made]):
    """A photo in its place in the order, and what came of it; None until then."""

    def __init__(self, read: Read[P], block: int) -> None:
        self.photo, self.prepared, self.block = read.photo, read.prepared, block
        self.outcome: Made | Failed[P] | None = (
            None if read.error is None else Failed(read.photo, without_frames(read.error))
        )
        # Kept apart from `prepared`, which is let go of when the photo is explained.
        self.shape = () if read.prepared is None else read.prepared.array.shape
        self.pixels = 0 if read.prepared is None else math.prod(read.prepared.photo.size)


def _group(waiting: Iterable[_Slot[P, Made]], most: int) -> list[_Slot[P, Made]]:
    """The photos that can be explained together with the oldest one, itself the first."""
    # The oldest decides the size, since all others wait for it to be given back.
    unexplained = [slot for slot in waiting if slot.outcome is None]
    alike = unexplained[0].shape, unexplained[0].block
    return [slot for slot in unexplained if (slot.shape, slot.block) == alike][:most]


def _room(waiting: Sequence[_Slot[P, Made]], most: int) -> int:
    """How many photos more may be on their way: ``most`` in all, or fewer where they are large."""
    pixels = [slot.pixels for slot in waiting]
    if not any(pixels):
        return min(most, _FIRST) - len(waiting)
    # As if all that come were as large as the largest so far.
    return min(most - len(waiting), (_MOST_PIXELS - sum(pixels)) // max(pixels))
