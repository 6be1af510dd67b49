"""One process writes into a run: the next one is told who it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, one_line, printable
from gradsight.files import read_text, write_bytes

if TYPE_CHECKING:
    import filelock

LOCK, OWNER = ".lock", ".owner"
"""The lock, and who has it: a lock that is asked for in vain is emptied by that."""

_LONGEST = 200
"""So many characters of an owner's name are shown."""


def locked(folder: Path) -> filelock.BaseFileLock:
    """Lock the folder of a run until the lock is released, or the process ends, however it does.

    Raises:
        InvalidArgument: another process has it, or it cannot be locked.
        MissingDependency: filelock is not installed.
    """
    try:
        import filelock
    except ImportError as error:
        raise MissingDependency("a run is locked by filelock. Install it: pip install 'gradsight[run]'.") from error
    # Not of a thread: what writes may be another one than what opened it. The system itself opens the lock of a process
    # that was killed.
    lock = filelock.FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InvalidArgument(
            f"another process writes into {str(folder)!r}: {_owner(folder)}. Wait for its end, or end it; what it "
            "wrote stays, and the same command goes on with it."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise InvalidArgument(
            f"{str(folder)!r} cannot be locked: {one_line(error)}. Name a folder on a disk of this machine."
        ) from error
    try:
        write_bytes(folder / OWNER, f"process {os.getpid()} on {platform.node()}".encode())
    except GradsightError:  # a full disk
        lock.release()
        raise
    return lock


def _owner(folder: Path) -> str:
    try:
        return printable(read_text(folder / OWNER, "a name of a process")[:_LONGEST])
    except GradsightError:
        return "one that left no name"
