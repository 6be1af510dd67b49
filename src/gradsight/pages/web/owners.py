"""Whose file is whose: what one visitor uploads or takes home is given to nobody else."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from gradsight.locks import Lock

ANYBODY = ""
"""The owner of what came without a cookie, from a program: who knows its name, which nobody guesses, may ask of it."""

_SESSIONS = 10_000


@dataclass
class _Known:
    owners: set[str]
    size: int


@dataclass(eq=False)
class Owners:
    """The files of a page by their visitors. Threads may share it.

    Attributes:
        public: files that everybody may read, such as the example.
        most: bytes of all files together; the oldest are deleted for the newest.
    """

    public: frozenset[str] = frozenset()
    most: int = 2_000_000_000
    _files: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    _sessions: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _total: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, paths: Iterable[str | os.PathLike[str]], visitor: str) -> None:
        """Files that are a visitor's from now on, who may be one of several with the same photo."""
        with self._lock:
            for path in map(os.path.realpath, paths):
                known = self._files.pop(path, _Known(set(), 0))
                self._total += (size := _size(path)) - known.size
                self._files[path] = _Known(known.owners | {visitor}, size)
            while self._total > self.most and len(self._files) > 1:
                oldest, known = self._files.popitem(last=False)
                self._total -= known.size
                with suppress(OSError):
                    os.unlink(oldest)

    def may_read(self, path: str | os.PathLike[str], visitor: str) -> bool:
        """Whether a visitor is given a file."""
        real = os.path.realpath(path)
        if real in self.public:
            return True
        known = self._files.get(real)
        # Nobody without a cookie: what a program sends it has.
        return known is not None and visitor != ANYBODY and visitor in known.owners

    def may_ask(self, path: str | os.PathLike[str], visitor: str) -> bool:
        """Whether a visitor may have a file explained."""
        real = os.path.realpath(path)
        known = self._files.get(real)
        return real in self.public or (known is not None and bool(known.owners & {visitor, ANYBODY}))

    def is_own(self, session: str, visitor: str) -> bool:
        """Whether a session is the visitor's; it is, where nobody had it before."""
        with self._lock:
            owner = self._sessions.setdefault(session, visitor)
            self._sessions.move_to_end(session)
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return owner == visitor


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
