"""How far an audit has come, told to whoever listens while it tries suspects out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

_OFTEN = 0.2
"""Seconds between two calls of who listens."""


@dataclass(frozen=True)
class Progress:
    """How far an audit has come.

    Attributes:
        suspects: how many are tested; 0 where that is not known yet.
        tried: how many of them were.
        passes: how many changed photos the model was asked about.
        seconds: since the first of them began.

    >>> Progress(suspects=6, tried=2, seconds=10.0).left
    20.0
    """

    suspects: int = 0
    tried: int = 0
    passes: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds to the end of the suspects, as it goes so far; None where nobody knows."""
        return self.seconds / self.tried * (self.suspects - self.tried) if self.tried else None


Tell = Callable[[Progress], None]
"""Who wants to know."""

# No argument of `gs.audit` and `gs.report`: what listens is a terminal, and neither of them knows of one.
_LISTENER: ContextVar[Tell | None] = ContextVar("listener", default=None)


@contextmanager
def listening(tell: Tell) -> Iterator[None]:
    """Tell how far audits have come that are made within; by the thread that makes them."""
    before = _LISTENER.set(tell)
    try:
        yield
    finally:
        _LISTENER.reset(before)


@dataclass(eq=False)
class Count:
    """Counts what an audit does, and says so a few times a second.

    Attributes:
        now: how far it has come.
    """

    now: Progress = field(default_factory=Progress)
    _tell: Tell | None = field(default_factory=_LISTENER.get)
    _began: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    def begin(self, suspects: int) -> None:
        """So many suspects will be tried."""
        self._began = time.monotonic()
        self._set(replace(self.now, suspects=suspects))

    def tried(self) -> None:
        """One more is tried."""
        self._set(replace(self.now, tried=self.now.tried + 1))

    def asked(self, photos: int) -> None:
        """The model is asked about so many photos more."""
        self.now = replace(self.now, passes=self.now.passes + photos)
        # One suspect takes minutes on a large model: its passes are told too, and a terminal shows no thousand lines.
        if time.monotonic() - self._told >= _OFTEN:
            self._set(self.now)

    def _set(self, now: Progress) -> None:
        self._told = time.monotonic()
        self.now = replace(now, seconds=self._told - self._began)
        if self._tell is not None:
            self._tell(self.now)
