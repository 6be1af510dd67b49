"""Photos that are read by threads while others are explained, no more of them than a few batches."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol

from PIL import Image

from gradsight.explaining.inputs import Prepared
from gradsight.photos import P


class HasSource(Protocol):
    """A photo with what is read of it, as `photos.Photo` is one."""

    @property
    def source(self) -> Path | bytes | Image.Image:
        """What is read."""


_THREADS = min(4, os.cpu_count() or 1)
"""Pillow decodes without Python's lock; more threads than these only take processors from the model."""


_PATIENCE = 10.0
"""Seconds that the end of a stream waits for photos that are being read."""


@dataclass(eq=False)
class Read(Generic[P]):
    """A photo on its way.

    Attributes:
        photo: as it was given.
        prepared: what the model gets of it; None where it failed, or was explained.
        error: why it could not be read; None where it could.
    """

    photo: P
    prepared: Prepared | None = None
    error: Exception | None = None


class ReadAhead(Generic[P]):
    """Photos in their order, read by threads; at most so many are on their way as is said each time.

    The iterable itself is only ever asked by the thread that asks for photos: a generator of the user's need not know
    of threads.

    Args:
        photos: any iterable, also an endless one.
        prepare: reads one of them and makes the model's input of it. Threads call it side by side.
    """

    def __init__(self, photos: Iterable[P], prepare: Callable[[object], Prepared]) -> None:
        self._photos, self._prepare = iter(photos), prepare
        self._coming: deque[tuple[P, Future[Prepared]]] = deque()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="gradsight-reading")
        self._failure: Exception | None = None
        self._ended = False

    def ahead(self, most: int) -> None:
        """Let threads begin to read, until ``most`` photos are on their way."""
        while not self._ended and len(self._coming) < most:
            try:
                photo = next(self._photos)
            except StopIteration:
                self._ended = True
            except Exception as error:  # of the user's iterable: what it gave before is explained first
                self._failure, self._ended = error, True
            else:
                self._coming.append((photo, self._pool.submit(self._prepare, photo)))

    def next(self) -> Read[P] | None:
        """The next photo, waited for; None where there is none on its way."""
        if not self._coming:
            return None
        photo, future = self._coming[0]
        try:
            read = Read(photo, future.result())
        except Exception as error:
            read = Read(photo, error=error)
        # Now, so that `close` knows of it where Ctrl-C ends the waiting.
        self._coming.popleft()
        return read

    def close(self) -> None:
        """End the threads: what they have not begun is left."""
        begun = [future for _, future in self._coming if not future.cancel()]
        self._pool.shutdown(wait=False)
        # Waited for: a thread that still reads would hold its file open after the stream has ended. Threads themselves
        # are not joined, and nothing is waited for without end: Python's garbage collector may close a stream that was
        # let go of, in the midst of whatever a thread does, and with whatever lock it holds.
        wait(begun, _PATIENCE)
        self._coming.clear()

    def raise_failure(self) -> None:
        """Raise what the user's iterable raised, if it did."""
        if self._failure is not None:
            raise self._failure


def one_at_a_time(function: Callable[[object], Prepared]) -> Callable[[object], Prepared]:
    """A function that only one thread runs at a time: code of the user's may not be made for more."""
    lock = threading.Lock()

    def locked(photo: object) -> Prepared:
        with lock:
            return function(photo)

    return locked
