"""Copies of this process, each with one block of photos at a time: the way to use all processors with a small model.

A pass of a small network on several threads waits at each layer for the slowest, which is the one whose processor also
reads photos; and threads of Python that run a model side by side wait for each other. Copies do neither. They share the
memory of the model, and nothing has to be loaded or sent but photos and rows.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from gradsight.errors import ModelError
from gradsight.explaining.explainer import Explainer
from gradsight.runs.engines.engine import Work
from gradsight.runs.engines.sending import Raised, sent
from gradsight.runs.making import Made, Making
from gradsight.runs.plan import Numbered, in_blocks
from gradsight.runs.schema import RunRow
from gradsight.runs.trial import Worth

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

_MOST = 8
"""Copies at most: each keeps the activations of a batch of its own."""

_AHEAD = 2
"""Blocks that a copy has at hand: the next is there when one is done."""

_PHOTOS_EACH = 128
"""Photos that each copy is to have at least, four blocks; of fewer the last block would be waited for too long."""

_SHARE = 128
"""For each copy, one photo in so many is tried for the batch size: with one thread each, sizes differ little."""

_USUAL = 2
"""Photos that pass the model at once in a copy, in a run too short for a trial."""

_OFTEN = 0.2
"""Seconds between two looks at how many photos are done."""


class Room(NamedTuple):
    """How many copies there are, and how many threads the model has in each."""

    workers: int
    threads: int


def threads_of(explainer: Explainer) -> int:
    """How many threads a model computes with that copies of this process can run; 0 for one that they cannot.

    They can run a model of PyTorch on processors.
    """
    # Apple's libraries do not survive it; TensorFlow and JAX have threads of their own from the beginning.
    if not sys.platform.startswith("linux") or {"tensorflow", "jax"} & set(sys.modules) or "torch" not in sys.modules:
        return 0
    # Here, since a model of Keras needs no PyTorch.
    from gradsight.backends.torch import processors

    return processors.threads_of(explainer.model.model)


def is_alone() -> bool:
    """Whether nothing else runs in this process: what another thread holds is held in a copy for ever."""
    return threading.active_count() == 1


def fitting(threads: int, count: int | None) -> int:
    """How many copies make a run quicker; fewer than two where this process is to do it alone.

    Args:
        threads: of the model.
        count: how many photos the run is of; None where nobody knows.

    >>> fitting(threads=4, count=200), fitting(threads=1, count=None)
    (1, 1)
    """
    most = threads if count is None else min(threads, count // _PHOTOS_EACH)
    # There are threads on Linux alone, see `threads_of`, and only there is it known what this process may use.
    return min(most, len(os.sched_getaffinity(0)), _MOST) if most > 1 else 1


@contextmanager
def as_in_a_copy(room: Room) -> Iterator[Worth]:
    """Within it a model of PyTorch computes here as in a copy, to the last digit."""
    from gradsight.backends.torch.processors import computing_with

    with computing_with(room.threads):
        # While one photo is tried here, each copy could have done one.
        yield Worth(share=_SHARE * room.workers, usual=_USUAL)


def each(work: Work, room: Room) -> Generator[Made, None, None]:
    """What comes of each photo, in their order; photos are counted as they are done, not as they are given back.

    Args:
        work: what is left of a run.
        room: the copies.

    Raises:
        ModelError: a copy was killed, as for want of memory.
        GradsightError: what was asked for fits no photo.
    """
    with _copies(work, room) as copies:
        blocks = in_blocks(work.photos, work.plan)
        coming = deque(copies.begin(block) for block in islice(blocks, _AHEAD * room.workers))
        while coming:
            block, future = coming.popleft()
            made = copies.result(future)
            coming.extend(copies.begin(following) for following in islice(blocks, 1))
            for photo, (failed, rows) in zip(block, made, strict=True):
                yield Made(photo, failed, partial(list, rows))


_Block: TypeAlias = list[tuple[bool, list[RunRow]]]
"""What came of the photos of a block: whether each failed, and its rows."""

_Coming: TypeAlias = "Future[_Block | Raised]"


class _Copies:
    """The copies, while they are there.

    Args:
        pool: of them.
        done: has, for each photo that is done, whether it failed.
        count: is told of it.
    """

    def __init__(self, pool: ProcessPoolExecutor, done: SimpleQueue[bool], count: Callable[[bool], None]) -> None:
        self._pool, self._done, self._count = pool, done, count

    def begin(self, block: list[Numbered]) -> tuple[list[Numbered], _Coming]:
        """Let a copy explain a block, as soon as one is free."""
        try:
            return block, self._pool.submit(_made_of, block)
        except BrokenProcessPool as error:
            raise ModelError(_LOST) from error

    def result(self, coming: _Coming) -> _Block:
        """What came of a block, waited for; meanwhile photos are counted."""
        while wait([coming], _OFTEN).not_done:
            self._tell()
        self._tell()
        try:
            made = coming.result()
        except BrokenProcessPool as error:
            raise ModelError(_LOST) from error
        if isinstance(made, Raised):
            raise made.error
        return made

    def _tell(self) -> None:
        while not self._done.empty():
            self._count(self._done.get())


_LOST = (
    "a process that explained photos was killed, as the system does where memory is short. What is whole is written: "
    "run the same command again with --workers 1, or with a smaller --batch-size; in Python engine=gs.Local(workers=1)."
)


@contextmanager
def _copies(work: Work, room: Room) -> Iterator[_Copies]:
    context = get_context("fork")
    done: SimpleQueue[bool] = context.SimpleQueue()
    lives, ends = os.pipe()
    pool = ProcessPoolExecutor(room.workers, context, _Worker.begin, (work, room, done, (lives, ends)))
    try:
        _in_a_new_thread(partial(pool.submit, os.getpid))
        yield _Copies(pool, done, work.count.add)
        pool.shutdown()
    finally:
        # Where something has ended the work, copies end in the middle of theirs: nobody waits for it.
        os.close(ends)
        pool.shutdown(cancel_futures=True)
        os.close(lives)
        done.close()


def _in_a_new_thread(start: Callable[[], object]) -> None:
    # The thread that forks is all that a copy has. It must not be one that has computed on several threads, whose pool
    # a copy would wait for: OpenMP keeps a pool for each thread that asked for one.
    thread = threading.Thread(target=start)
    with warnings.catch_warnings():
        # Of Python 3.12 on, where there are other threads; see `is_alone`.
        warnings.filterwarnings("ignore", r".*multi-threaded.*fork", DeprecationWarning)
        thread.start()
        thread.join()


class _Worker:
    """What a copy has: what makes rows of photos.

    Args:
        work: what is left of the run.
        done: takes, for each photo that is done, whether it failed.
    """

    _own: ClassVar[_Worker]

    def __init__(self, work: Work, done: SimpleQueue[bool]) -> None:
        self._making = Making(work.explainer, work.plan, features=work.features, begun=work.begun)
        self._done = done

    @classmethod
    def begin(cls, work: Work, room: Room, done: SimpleQueue[bool], pipe: tuple[int, int]) -> None:
        """Begin in a copy of the process."""
        from gradsight.backends.torch.processors import compute_with

        lives, ends = pipe
        os.close(ends)
        # Ctrl-C is for the process that was copied, which ends its copies.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_with, args=(lives,), daemon=True).start()
        compute_with(room.threads)
        cls._own = cls(work, done)

    @classmethod
    def of_this_process(cls) -> _Worker:
        """That of the copy that asks."""
        return cls._own

    def block(self, photos: list[Numbered]) -> _Block:
        """What comes of a block."""
        made = []
        for one in self._making.each(photos):
            made.append(one)
            self._done.put(one.failed)
        return [(one.failed, one.rows()) for one in made]


def _made_of(block: list[Numbered]) -> _Block | Raised:
    try:
        return _Worker.of_this_process().block(block)
    except Exception as error:
        return Raised(sent(error))


def _end_with(lives: int) -> None:
    # It gives nothing, and ends when the process that was copied ends, even by a crash, or wants no more.
    os.read(lives, 1)
    os._exit(1)
