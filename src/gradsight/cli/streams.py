"""Whose stdout it is: gradsight's own. What anything else writes goes to stderr, and what frameworks say is kept back.

A model is the user's code, and runs others' code: it may print, from Python, from C, and from processes that it starts.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from gradsight.cli import quiet
from gradsight.errors import InvalidArgument
from gradsight.locks import whole


class Words(io.TextIOWrapper):
    """A text stream that never fails: what can be written no more is dropped, and ``lost`` says why.

    A reader may leave, a disk be full and a stream be closed; files are written all the same. Nobody else's ``close``
    closes it.
    """

    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, if that is still possible."""
        with whole():  # a child that is forked meanwhile would find the stream locked for ever
            if self.lost is None:
                try:
                    return super().write(text)
                except OSError as error:
                    self.lost = error
        return len(text)

    def flush(self) -> None:
        """Write what was held back for efficiency, if that is still possible."""
        with whole():
            if self.lost is None:
                try:
                    super().flush()
                except OSError as error:
                    self.lost = error

    def close(self) -> None:
        """Stay open: a model that closes `sys.stderr` must not cost gradsight's last words."""
        self.flush()

    def end(self) -> None:
        """Close it for good."""
        self.flush()
        with suppress(OSError):
            super().close()


_own: list[TextIO] = []


def stdout() -> TextIO:
    """Where gradsight's own words go."""
    return _own[-1] if _own else sys.stdout


def need_stdout(what: str) -> None:
    """See that there is a stdout, for what is of no use without it.

    Raises:
        InvalidArgument: it is closed.
    """
    lost = _lost()
    if lost is not None and lost.errno == errno.EBADF:
        raise InvalidArgument(f"{what} goes to stdout, which is closed. Leave it open, or send it into a file: > FILE.")


def unsaid() -> str | None:
    """Why some words could not be written, unless nobody is there to read them: a reader that left has read enough."""
    # What is still held back would fail after the status was chosen.
    if sys.stdout is not None:
        stdout().flush()
    lost = _lost()
    return None if lost is None or lost.errno in (errno.EPIPE, errno.EBADF) else lost.strerror


def _lost() -> OSError | None:
    return getattr(stdout(), "lost", None)


@contextmanager
def others_to_stderr() -> Iterator[None]:
    """Let whatever prints write to stderr meanwhile; `stdout` stays what it was.

    Where the process is gradsight's own (`own_process`) it stays so: threads of a model print when they like.
    """
    if _own:
        sys.stdout = sys.stderr
        yield
        return
    outer = sys.stdout
    if outer is None:  # closed
        yield
        return
    # Kept, so that `stdout` finds it while sys.stdout leads elsewhere.
    _own.append(outer)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = outer
        _own.pop()


@contextmanager
def own_process() -> Iterator[None]:
    """Take stdout from all but this process's `sys.stdout`, to the process's end, and keep libraries quiet.

    Not undone: what C code has buffered is written when the process ends.
    """
    # First: whatever is opened from here on must not get one of the numbers 0 to 2.
    _open_all()
    if sys.stderr is None or _leads_to(sys.stderr, 2):
        sys.stderr = _robust(sys.stderr, 2)
    own = _stdout_alone()
    if own is not None:
        sys.stdout = own
        _own.append(own)
    with quiet.libraries():
        try:
            yield
        finally:
            if own is not None:
                sys.stdout = sys.stderr  # for functions that run at exit
                _own.remove(own)
                own.end()


def _stdout_alone() -> Words | None:
    """Move stdout from file descriptor 1, which then leads to stderr, to one of its own; None if it is no file."""
    given = sys.stdout
    if given is None:  # closed
        # Lost from the start: `need_stdout` and `unsaid` then know one kind of loss only.
        own = Words(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        own.lost = OSError(errno.EBADF, os.strerror(errno.EBADF))
    else:
        if not _leads_to(given, 1):
            return None
        with suppress(OSError):
            given.flush()
        own = _robust(given, os.dup(1))
    # On the descriptor itself: also for code in C, and for processes that the model starts.
    os.dup2(2, 1)
    return own


def _leads_to(stream: TextIO, descriptor: int) -> bool:
    """Whether a stream is that of a file descriptor, and nothing that somebody put in its place."""
    try:
        return stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):  # no file
        return False


def _robust(given: TextIO | None, descriptor: int) -> Words:
    """A stream like ``given``, of a file descriptor, that never fails."""
    return Words(
        # The descriptor stays open when this object goes: code in C may still write to it.
        open(descriptor, "wb", closefd=False),
        encoding=getattr(given, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a label must not fail on a terminal without its letters
        line_buffering=descriptor == 2 or bool(getattr(given, "line_buffering", False)),
    )


def _open_all() -> None:
    """See that file descriptors 0, 1 and 2 are open: the next files would get their numbers, and be written into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
