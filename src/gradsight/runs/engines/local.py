"""The engine of this process: photos are read ahead by threads, rows made and written by others beside the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from gradsight.errors import GradsightError
from gradsight.explaining.explainer import Explainer
from gradsight.runs.engines.engine import Work
from gradsight.runs.items import Items
from gradsight.runs.making import Made, Making
from gradsight.runs.schema import FAILED

_SECONDS = 60.0
"""Of work that is written together at most: so much is lost where the process is killed."""


class Local:
    """Explains the photos of a run in this process."""

    name = "local"

    def check(self, explainer: Explainer, items: Items) -> None:
        """Whatever an explainer takes can be explained here."""

    def explain(self, work: Work) -> None:
        """Explain all photos and write their rows; see `Engine.explain`."""
        with ThreadPoolExecutor(1, thread_name_prefix="gradsight-writing") as thread:
            parts = _Parts(work, thread)
            with Making(work.explainer, work.plan, features=work.features, begun=work.begun) as making:
                try:
                    for made in making.each(work.photos):
                        work.count.add(made.failed)
                        parts.add(made)
                    parts.end_block()
                except BaseException:  # also of Ctrl-C: what is whole is kept
                    parts.rescue()
                    raise
                parts.finish()


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
