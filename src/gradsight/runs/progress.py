"""How far a run has come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

_OFTEN = 0.2
"""Seconds between two calls of who wants to know."""

_WINDOW = 60.0
"""Seconds that the rate is taken over: what was long ago says little of what comes."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        total: how many photos there are; None where that is not known before the end.
        before: how many were done by earlier calls.
        done: how many were done by this call, those that failed among them.
        failed: how many of these failed.
        seconds: since this call began to explain.
        rate: photos a second, lately; 0 where that is not known yet.
        part: the name of the file that was just written; None where none was.
        rows: how many rows it has.

    >>> Progress(total=100, before=20, done=30, rate=5.0).left
    10.0
    """

    total: int | None = None
    before: int = 0
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    part: str | None = None
    rows: int = 0

    @property
    def left(self) -> float | None:
        """Seconds to the end, as it goes now; None where nobody knows."""
        # Not the average since the beginning: the first photos wait for what is compiled.
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.before - self.done) / self.rate


Tell = Callable[[Progress], None]
"""Who wants to know."""


@dataclass(eq=False)
class Count:
    """Counts photos, and says so to whoever wants to know.

    Attributes:
        now: how far the run has come.
        tell: is called a few times a second, and with each part that is written; by the thread that began the run.
    """

    now: Progress = field(default_factory=Progress)
    tell: Tell | None = None
    _began: float = field(default_factory=time.monotonic)
    _told: float = 0.0
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, failed: bool) -> None:
        """One photo more is done."""
        self.now = replace(self.now, done=self.now.done + 1, failed=self.now.failed + failed)
        moment = time.monotonic()
        # A model may take thousands of photos a second, and a terminal no thousand lines.
        if moment - self._told >= _OFTEN:
            self._say(moment)

    def add_part(self, name: str, rows: int, done: int = 0, failed: int = 0) -> None:
        """A part is written, and with it so many photos done that were not added one by one."""
        # Workers elsewhere tell of whole parts alone.
        self.now = replace(self.now, done=self.now.done + done, failed=self.now.failed + failed)
        self._say(time.monotonic(), name, rows)

    def _say(self, moment: float, part: str | None = None, rows: int = 0) -> None:
        self._told = moment
        self._marks.append((moment, self.now.done))
        # Two at least: the rate is taken between them.
        while len(self._marks) > 2 and moment - self._marks[0][0] > _WINDOW:
            self._marks.popleft()
        since, done = self._marks[0] if len(self._marks) > 1 else (self._began, 0)
        rate = (self.now.done - done) / (moment - since) if moment > since else 0.0
        self.now = replace(self.now, seconds=moment - self._began, rate=rate)
        if self.tell is not None:
            self.tell(replace(self.now, part=part, rows=rows))
