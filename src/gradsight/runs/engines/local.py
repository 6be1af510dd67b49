"""The engine of this machine: photos are read ahead by threads, rows made and written by others beside the model.

Where the model computes on processors, copies of this process explain blocks of photos side by side; see `forked`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from gradsight.checks import optional
from gradsight.errors import GradsightError, InvalidArgument, received
from gradsight.explaining.explainer import Explainer
from gradsight.rules import Whole
from gradsight.runs.engines import forked
from gradsight.runs.engines.engine import Extent, Work
from gradsight.runs.items import Items
from gradsight.runs.making import Made, Making
from gradsight.runs.schema import FAILED
from gradsight.runs.trial import Worth

_SECONDS = 60.0
"""Of work that is written together at most: so much is lost where the process is killed."""


@dataclass(frozen=True)
class Local:
    """Explains the photos of a run on this machine.

    >>> Local(workers=1).name
    'local'

    Attributes:
        workers: how many processes explain photos: copies of this one, which share the memory of the model. 1 for this
            one alone; None for as many as make it quicker: one for each thread of a PyTorch model on processors, where
            no other thread runs in this process and photos are read from files.

    Raises:
        InvalidArgument: it is no such number.
    """

    workers: int | None = None
    name: ClassVar[str] = "local"

    def __post_init__(self) -> None:
        optional("workers", self.workers, Whole(1), "Pass 2, or leave it out for as many as make it quicker.")

    def check(self, explainer: Explainer, _items: Items) -> None:
        """Whatever an explainer takes can be explained here, by several processes where they can run its model.

        Raises:
            InvalidArgument: they cannot.
        """
        if (self.workers or 1) > 1 and not forked.threads_of(explainer):
            raise InvalidArgument(
                "`workers` can be more than 1 for a PyTorch model on processors, on Linux, in a process that uses no "
                f"GPU, TensorFlow or JAX. {received(self.workers)} Leave it out: then the model uses all that is there."
            )

    def trying(self, explainer: Explainer, extent: Extent) -> AbstractContextManager[Worth]:
        """Let the model compute on as many threads as in a copy, where there will be some; see `Engine.trying`."""
        room = self._room(explainer, extent)
        return nullcontext(Worth()) if room is None else forked.as_in_a_copy(room)

    def explain(self, work: Work) -> None:
        """Explain all photos and write their rows; see `Engine.explain`."""
        room = self._room(work.explainer, work.extent)
        with ThreadPoolExecutor(1, thread_name_prefix="gradsight-writing") as thread:
            parts = _Parts(work, thread)
            with closing(_counted(work) if room is None else forked.each(work, room)) as found:
                try:
                    for made in found:
                        parts.add(made)
                    parts.end_block()
                except BaseException:  # also of Ctrl-C: what is whole is kept
                    parts.rescue()
                    raise
                parts.finish()

    def _room(self, explainer: Explainer, extent: Extent) -> forked.Room | None:
        """The copies; None where this process does it alone."""
        threads = forked.threads_of(explainer)
        # Photos that are in memory would be there once more for each block that is under way.
        suits = forked.is_alone() and not extent.in_memory
        workers = self.workers or (forked.fitting(threads, extent.count) if suits else 1)
        return forked.Room(workers, max(1, threads // workers)) if workers > 1 else None


def _counted(work: Work) -> Generator[Made, None, None]:
    """What comes of each photo in this process."""
    with Making(work.explainer, work.plan, features=work.features, begun=work.begun) as making:
        for made in making.each(work.photos):
            work.count.add(made.failed)
            yield made


class _Written(NamedTuple):
    """A part that is on the disk: its name, its rows, and the photos that failed when their rows were made."""

    name: str
    rows: int
    failed_late: int


@dataclass
class _Parts:
    """Gathers what comes of photos in whole blocks, and has them written.

    Attributes:
        work: what is done.
        thread: writes them.
    """

    work: Work
    thread: ThreadPoolExecutor
    _block: list[Made] = field(default_factory=list)
    _blocks: list[list[Made]] = field(default_factory=list)
    _writing: Future[_Written] | None = None
    _began: float = field(default_factory=time.monotonic)

    def add(self, made: Made) -> None:
        """What came of one photo more."""
        block_of = self.work.plan.block_of
        if self._block and block_of(made.photo) != block_of(self._block[0].photo):
            self.end_block()
        self._block.append(made)
        # Asked for each photo: an error of the disk ends the run at once, and not a thousand photos later.
        if self._writing is not None and self._writing.done():
            self._wait()

    def end_block(self) -> None:
        """There is no more of the block; with it a part may be full."""
        if self._block:
            self._blocks.append(self._block)
            self._block = []
        if len(self._blocks) >= self.work.plan.blocks or time.monotonic() - self._began > _SECONDS:
            self._write()

    def finish(self) -> None:
        """Write what there is, and wait until it is written."""
        self._write()
        self._wait()

    def rescue(self) -> None:
        """Write the blocks that are whole, where something else has ended the work."""
        # An error of the disk would hide what has ended it, or is that itself.
        with suppress(GradsightError):
            self.finish()

    def _write(self) -> None:
        # One at a time: a disk that is slower than the model would fill the memory.
        self._wait()
        part = [made for block in self._blocks for made in block]
        self._blocks, self._began = [], time.monotonic()
        if part:
            self._writing = self.thread.submit(self._written, part)

    def _written(self, part: Sequence[Made]) -> _Written:
        # Waited for in this thread, while the model goes on.
        found = [made.rows() for made in part]
        late = sum(rows[0].status == FAILED and not made.failed for made, rows in zip(part, found, strict=True))
        rows = [row for own in found for row in own]
        path = self.work.store.write(rows, part[0].photo.position)
        return _Written(path.name, len(rows), late)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            written = writing.result()
            self.work.count.add_part(written.name, written.rows, failed=written.failed_late)
