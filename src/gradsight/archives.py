"""Zip files, such as ``.npz``, ``.pt``, ``.pt2`` and ``.keras``: measured before anything of them is unpacked.

5 MB of a zip file unpack to 5 GB of zeros. How much it is stands in the file, and readers that trust it allocate it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from gradsight.errors import GradsightError, InvalidArgument, one_line
from gradsight.files import opened
from gradsight.limits import UNPACKED_BYTES

_USUAL = 20
"""An archive may unpack to so many times its own size, at any size: arrays of results are mostly zeros."""

_KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The compressions that NumPy, PyTorch and Keras write. Of others Python unpacks more than was asked for."""


@contextmanager
def unpacking(
    source: str | os.PathLike[str] | BinaryIO, what: str, kind: type[GradsightError] = InvalidArgument
) -> Iterator[zipfile.ZipFile]:
    """Open a zip file, after a check that it does not unpack to too much.

    Args:
        source: its path, or the open file, whose position is put back.
        what: it should be, such as ``"a Keras model"``.
        kind: the error to raise.

    Raises:
        GradsightError: it is no zip file, is damaged or encrypted, or unpacks to more than `limits.UNPACKED_BYTES` and
            to far more than it holds itself. So is whatever fails on damage in the block.
    """
    if isinstance(source, str | os.PathLike):
        with opened(source, what, kind) as file, _measured(file, repr(os.fspath(source)), what, kind) as archive:
            yield archive
        return
    before = source.tell()
    try:
        with _measured(source, repr(getattr(source, "name", "the open file")), what, kind) as archive:
            yield archive
    finally:
        source.seek(before)


@contextmanager
def _measured(file: BinaryIO, name: str, what: str, kind: type[GradsightError]) -> Iterator[zipfile.ZipFile]:
    try:
        # The true size: what the archive says of itself is not trusted.
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            _check(archive, size, name, kind)
            yield archive
    except GradsightError:
        raise
    except Exception as error:  # damaged bytes end in almost any exception
        raise kind(f"{name} is not {what}, or is damaged or cut off: {one_line(error)}. Get it again.") from error


def content(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive, of no more bytes than it claims: by itself Python unpacks up to 2 GB of it at once."""
    entry = archive.getinfo(name)
    with archive.open(entry) as file:
        data = file.read(entry.file_size)
        file.read(1)  # compares the checksum
    if len(data) != entry.file_size:
        raise zipfile.BadZipFile(f"{name!r} is cut off")
    return data


def _check(archive: zipfile.ZipFile, size: int, name: str, kind: type[GradsightError]) -> None:
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type not in _KNOWN or entry.flag_bits & 1:
            raise zipfile.BadZipFile(f"{entry.filename[:80]!r} in it is encrypted, or packed in an unusual way")
    check_claim(sum(entry.file_size for entry in entries), size, name, kind)


def check_claim(claimed: int, size: int, name: str, kind: type[GradsightError]) -> None:
    """Check that a file of ``size`` bytes does not claim to hold far more, and more than `limits.UNPACKED_BYTES`.

    Raises:
        GradsightError: it does.
    """
    if claimed > _USUAL * size:
        UNPACKED_BYTES.check(claimed, f"{name} of {size:,} bytes claims to hold {claimed:,} bytes", kind)
