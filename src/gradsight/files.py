"""The one way to open a file for reading, and the one to write a file.

Reading takes regular files alone: a pipe among photos would wait for ever, and a device has no end. Writing is done
beside the file, which is put in place when it is whole: after a kill or on a full disk there is the old one or none.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gradsight.errors import GradsightError, InvalidArgument
from gradsight.limits import TEXT_BYTES, Limit

UNFINISHED = ".gradsight-"
"""What the names of files begin with that are being written; after a kill one may be left."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file; a name that the system does not take names none."""
    return _is(path, stat.S_ISREG)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder; a name that the system does not take names none."""
    return _is(path, stat.S_ISDIR)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something of that name, whatever it is."""
    return _is(path, bool)


def check_apart(
    path: str | os.PathLike[str],
    read: Iterable[str | os.PathLike[str]],
    name: str = "`path`",
    what: str = "what is read",
) -> None:
    """See that what is read is not written over, under whatever name.

    Args:
        path: that is to be written.
        read: files and folders that are read; those that are gone by now are no matter.
        name: of the argument.
        what: they are, in words.

    Raises:
        InvalidArgument: it would be.
    """
    for one in read:
        try:
            # By what lies there too: a file may have several names.
            same = os.path.realpath(path) == os.path.realpath(one) or os.path.samefile(path, one)
        except (OSError, ValueError):  # one of both is not there
            continue
        if same:
            raise InvalidArgument(f"{name} must not be {what}, {os.fsdecode(path)!r}. Name another file.")


def _is(path: str | os.PathLike[str], kind: Callable[[int], bool]) -> bool:
    try:
        return kind(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def opened(
    path: str | os.PathLike[str],
    what: str,
    kind: type[GradsightError] = InvalidArgument,
    limit: Limit | None = None,
) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Args:
        path: which one.
        what: it should be, such as ``"a picture"``.
        kind: the error to raise.
        limit: of its size in bytes; None for any.

    Raises:
        GradsightError: there is no such file, it is a folder, a pipe or a device, it cannot be opened, or it is
            larger than the limit. Errors while it is read are the caller's.
    """
    name = os.fspath(path)
    try:
        # Without waiting: a pipe that nobody writes into would otherwise be waited for.
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise kind(_why_not(name, what, error)) from None
    # Of what was opened, not of the name: the name may mean another file by now.
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise kind(_not_regular(name, what, status.st_mode))
    with os.fdopen(descriptor, "rb") as file:
        if limit is not None:
            limit.check(status.st_size, f"{name!r} is too large for {what}: {status.st_size:,} bytes", kind)
        yield file


def read_bytes(
    path: str | os.PathLike[str], what: str, kind: type[GradsightError] = InvalidArgument, limit: Limit | None = None
) -> bytes:
    """Read a whole file; arguments and errors as `opened`, and an error while it is read is one of ``kind`` too."""
    with opened(path, what, kind, limit) as file:
        try:
            return file.read()
        except OSError as error:
            raise kind(f"{os.fspath(path)!r} cannot be read: {error.strerror}.") from None


def read_text(path: str | os.PathLike[str], what: str, kind: type[GradsightError] = InvalidArgument) -> str:
    """Read a whole file as UTF-8, with or without a mark of it, and of at most `limits.TEXT_BYTES`."""
    content = read_bytes(path, what, kind, TEXT_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"{os.fspath(path)!r} is not {what}: it is no text in UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from None


def entries(folder: str | os.PathLike[str], what: str, kind: type[GradsightError] = InvalidArgument) -> list[Path]:
    """What a folder holds, in order of names, without what is hidden.

    Args:
        folder: which one.
        what: it should hold, such as ``"labels"``.
        kind: the error to raise.

    Raises:
        GradsightError: there is no such folder, or it cannot be read.
    """
    try:
        return sorted(entry for entry in Path(folder).iterdir() if not entry.name.startswith("."))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise kind(
            f"{os.fspath(folder)!r} cannot be read as a folder of {what}: {reason}. Check the path and its permissions."
        ) from None


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all; its folder is made if need be. What was there before is replaced.

    Raises:
        InvalidArgument: it cannot be written; what was there before is left as it was.
    """
    with written(path) as file:
        file.write(content)


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file as `write_bytes` does, piece by piece: it is put in place when the block ends without an error."""
    with _beside(path, lambda _: None) as file:
        yield file


@contextmanager
def durable(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """As `written`, and on the disk when the block has ended: also after the machine itself loses its power."""
    with _beside(path, lambda file: os.fsync(file.fileno())) as file:
        yield file
    # The name is kept by the folder, and would come to the disk some time later.
    with suppress(OSError):  # Windows opens no folders, and keeps names by itself
        folder = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _beside(path: str | os.PathLike[str], settle: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """A file beside the one that it takes the place of, after ``settle`` was called with it."""
    target = Path(path)
    try:
        if "\0" in str(target):
            raise ValueError("its name holds a null character")
        target = Path(os.path.realpath(target)) if target.is_symlink() else target  # a link is written through
        target.parent.mkdir(parents=True, exist_ok=True)
        if exists(target) and not is_file(target):
            raise OSError(errno.EINVAL, "it is a folder" if is_folder(target) else "it is no regular file")
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from error
    # Of a short name of its own, and with the permissions that any new file gets.
    beside = target.with_name(f"{UNFINISHED}{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            settle(file)
        if exists(target):
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        # In one step for whoever reads it: the old file or the new one, never half of one.
        beside.replace(target)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _unwritten(path: str | os.PathLike[str], error: Exception) -> InvalidArgument:
    reason = getattr(error, "strerror", None) or str(error)
    return InvalidArgument(f"{os.fspath(path)!r} cannot be written: {reason}. Name another place, or make room there.")


def _why_not(name: str, what: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no file {name!r}. Check the path; it was looked up in {Path.cwd()}."
    if isinstance(error, IsADirectoryError):
        return f"{name!r} is a folder, not {what}. Name a file inside it."
    if isinstance(error, OSError) and error.errno == errno.ENXIO:
        return f"{name!r} is a pipe or a socket, and only files are read. Save what it gives in a file first."
    reason = getattr(error, "strerror", None) or str(error)
    return f"{name!r} cannot be opened: {reason}. Check the path and its permissions."


def _not_regular(name: str, what: str, mode: int) -> str:
    if stat.S_ISDIR(mode):
        return f"{name!r} is a folder, not {what}. Name a file inside it."
    kind = next((words for test, words in _KINDS if test(mode)), "no regular file")
    return f"{name!r} is {kind}, and only files are read. Save what it gives in a file first."
