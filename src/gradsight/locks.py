"""Locks that are open in a forked child, and new in a copy of an object."""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from collections import Counter
from contextlib import ContextDecorator


class Lock(_thread.RLock):  # type: ignore[misc]  # which may be the base of others, whatever its types say
    """A lock that a thread may take again, for ``with``.

    A process that forks while another of its threads holds a lock leaves the child a lock that nobody opens. It is made
    anew there: the child has no other threads. And an object that has one can be pickled: the copy has one of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        _all.add(self)

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


_all: weakref.WeakSet[Lock] = weakref.WeakSet()


class _Running:
    """Which threads run, and which one forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: Counter[int] = Counter()
        self._forking: int | None = None

    def enter(self) -> None:
        """Begin when no thread forks. A thread that runs already goes on at once."""
        me = threading.get_ident()
        with self._changed:
            # A thread that is inside already may go on: the fork waits for it.
            if self._forking is not None and not self._inside[me]:
                self._changed.wait_for(lambda: self._forking in (None, me))
            self._inside[me] += 1

    def leave(self) -> None:
        """End."""
        me = threading.get_ident()
        with self._changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
            if self._forking is not None:  # nobody else waits
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread runs, and let none begin."""
        me = threading.get_ident()
        with self._changed:
            self._forking = me
            # With a limit: what runs may itself wait for the thread that forks.
            self._changed.wait_for(lambda: set(self._inside) <= {me}, _PATIENCE)

    def after_fork(self) -> None:
        """Let threads begin again."""
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def in_child(self) -> None:
        """Start again in a child, where only the thread that forked is left."""
        me = threading.get_ident()
        own = self._inside[me]
        # The lock within may be held by a thread that the child does not have.
        self.__init__()  # type: ignore[misc]
        self._inside += Counter({me: own})


_PATIENCE = 10.0
"""A fork waits at most so many seconds."""

_running = _Running()


class whole(ContextDecorator):  # noqa: N801 - used as a function
    """A block that a fork does not cut in two: the fork waits for its end.

    A child has one thread, and finds whatever the others were at as it was: half imported modules, half changed states
    of PyTorch, locks in C++ that nobody opens.
    """

    def __enter__(self) -> None:
        _running.enter()

    def __exit__(self, *_error: object) -> None:
        _running.leave()


def _renew() -> None:
    for lock in list(_all):
        lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
    os.register_at_fork(
        before=_running.before_fork, after_in_parent=_running.after_fork, after_in_child=_running.in_child
    )
