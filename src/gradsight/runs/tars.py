"""What lies in a tar, told by its headers: nothing is unpacked to disk, and no link or path in it is followed.

The blocks are read here and not by `tarfile`, which takes a header of any length that a file claims into memory.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from gradsight.archives import check_claim
from gradsight.errors import GradsightError, ImageError, one_line
from gradsight.files import opened
from gradsight.limits import MEMBER_BYTES

SUFFIXES = (".tar", ".tar.gz", ".tgz")
"""What the names of tars end in."""

_BLOCK = tarfile.BLOCKSIZE

_LONGEST = 1 << 16
"""Of a header that names a member, in bytes; a name has at most 4096 on any system."""

_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WIDE, _LONG_NAME, _LONG_LINK = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), tarfile.GNUTYPE_LONGNAME, b"K"
_FOR_ALL = tarfile.XGLTYPE


@dataclass(frozen=True)
class Member:
    """A file in a tar.

    Attributes:
        name: with "/" between its folders; bytes that are not in UTF-8 are kept as Python keeps them in names.
        start: where its bytes begin in the unpacked tar.
        size: how many there are.
        kind: empty for a regular file; else what it is, in words.
    """

    name: str
    start: int
    size: int
    kind: str = ""


@contextmanager
def reading(path: Path) -> Iterator[Tar]:
    """Open a tar.

    Raises:
        ImageError: there is no such file, or it is damaged. So is whatever fails on damage in the block.
    """
    with opened(path, "a tar", ImageError) as file:
        size = os.fstat(file.fileno()).st_size
        # By the name, and not by what it begins with: so a tar is chosen everywhere.
        packed = not path.name.lower().endswith(".tar")
        try:
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            yield Tar(stream, str(path), size, packed)
        except GradsightError:
            raise
        except Exception as error:  # damaged bytes end in almost any exception
            raise ImageError(f"{str(path)!r} is damaged or cut off: {one_line(error)}. Get it again.") from error


class Tar:
    """An open tar.

    Args:
        stream: its unpacked bytes.
        name: for messages.
        size: of the file, in bytes.
        packed: it is compressed, so that it may unpack to far more than its size.
    """

    def __init__(self, stream: BinaryIO, name: str, size: int, packed: bool) -> None:
        self._stream, self._name, self._size = stream, name, size
        self.packed = packed

    def members(self) -> Iterator[Member]:
        """The members in their order; the stream may be read between two of them.

        Raises:
            ImageError: a header is damaged or cut off, or a member claims more bytes than there are.
        """
        place, longer = 0, dict[str, str]()
        # A block of nulls ends a tar; one that just stops is taken too, as other programs do.
        while (block := self.read(place, _BLOCK)) and block.strip(b"\0"):
            info = self._header(block, place)
            if "size" in longer:  # in the first header there is no room for that of over 8 GB
                info.size = abs(int(longer["size"]))
            start = place + _BLOCK
            self._check(start + info.size, place)
            place = start + -(-info.size // _BLOCK) * _BLOCK
            # These say what the next header has no room for.
            if info.type in (*_WIDE, _LONG_NAME):
                longer |= self._longer(info, start)
            elif info.type not in (_FOR_ALL, _LONG_LINK):
                yield Member(longer.get("path", info.name), start, info.size, _kind(info, longer))
                longer = {}

    def read(self, start: int, size: int) -> bytes:
        """Some of its bytes; fewer at its end."""
        # A compressed one is unpacked up to there, in pieces that are let go of.
        self._stream.seek(start)
        return self._stream.read(size)

    def content(self, member: Member) -> bytes:
        """The bytes of a member.

        Raises:
            ImageError: it is too large, or cut off.
        """
        check_size(member, self._name)
        content = self.read(member.start, member.size)
        if len(content) < member.size:
            raise ImageError(f"{member.name!r} in {self._name!r} is cut off. Get the tar again.")
        return content

    def _header(self, block: bytes, place: int) -> tarfile.TarInfo:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.size < 0 or info.type == tarfile.GNUTYPE_SPARSE:  # behind which come more headers
                raise tarfile.HeaderError("a negative size, or a sparse file")
        except (tarfile.HeaderError, ValueError) as error:
            found = "" if place else " Is it a tar?"
            raise ImageError(
                f"{self._name!r} is damaged at byte {place:,}, and nothing behind that is read: {one_line(error)}."
                f"{found} Get it again."
            ) from None
        # Of links and folders no bytes follow, whatever the header claims.
        if info.type not in (*_REGULAR, *_WIDE, _LONG_NAME, _LONG_LINK, _FOR_ALL):
            info.size = 0
        return info

    def _check(self, end: int, place: int) -> None:
        if self.packed:
            check_claim(end, self._size, repr(self._name), ImageError)
        elif end > self._size:
            raise ImageError(
                f"{self._name!r} is cut off: what begins at byte {place:,} would end at {end:,}, and there are "
                f"{self._size:,}. Get it again."
            )

    def _longer(self, info: tarfile.TarInfo, start: int) -> Mapping[str, str]:
        """What a header says of the member behind it, such as a name of over 100 bytes."""
        if info.size > _LONGEST:
            raise ImageError(
                f"{self._name!r} has a header of {info.size:,} bytes, over the {_LONGEST:,} that are taken. Make it "
                "again with another program."
            )
        content = self.read(start, info.size)
        if info.type == _LONG_NAME:
            return {"path": content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
        return _records(content)


def check_size(member: Member, name: str) -> None:
    """Check that a member is within `limits.MEMBER_BYTES`.

    Raises:
        ImageError: it is larger.
    """
    what = f"{member.name!r} in {name!r} is too large: {member.size:,} bytes"
    MEMBER_BYTES.check(member.size, what, ImageError)


def _kind(info: tarfile.TarInfo, longer: Mapping[str, str]) -> str:
    """What a member is, where it is no regular file."""
    if any(key.startswith("GNU.sparse") for key in longer):
        return "a sparse file"
    if info.type in _REGULAR:
        return ""
    return "a link" if info.islnk() or info.issym() else "no regular file"


def _records(content: bytes) -> dict[str, str]:
    """The fields of a wide header, each a line of ``LENGTH KEY=VALUE``, where LENGTH counts all of its bytes."""
    records, place = dict[str, str](), 0
    while place < len(content):
        length, _, _ = content[place : place + 20].partition(b" ")
        end = place + int(length)
        if end <= place:  # it would never end
            raise ValueError("a header counts backwards")
        key, _, value = content[place + len(length) + 1 : end - 1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        place = end
    return records
