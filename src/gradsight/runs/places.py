"""Where a photo is found again, as a text that any file can hold."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

_WHOLE = re.compile(r"\.(?:tar|tar\.gz|tgz|parquet|pq)!", re.IGNORECASE)
"""What parts a tar from its member, and a table from its row."""

_URI = "file://"


def place_of(path: str, member: str | None = None) -> str:
    r"""An absolute path, or that of a larger file and what lies in it, as a text in UTF-8.

    It is ``"/photos/a.jpg"``, ``"/photos/1.tar!a.jpg"`` or ``"/photos/1.parquet!17"``, for row 17, as long as that can
    mean nothing else. Names that are not in UTF-8, and paths that look like one in a larger file, are written as a URI.

    >>> place_of("/photos/a.jpg"), place_of("/photos/1.tar", "a.jpg"), place_of("/photos/\udcff.jpg")
    ('/photos/a.jpg', '/photos/1.tar!a.jpg', 'file:///photos/%FF.jpg')
    """
    plain = path if member is None else f"{path}!{member}"
    # Only the first "!" behind the name of such a file parts it.
    first = _WHOLE.search(plain)
    meant = first is None if member is None else first is not None and first.end() == len(path) + 1
    if meant and _is_unicode(plain) and os.path.isabs(path):
        return plain
    # `quote` writes "!" out, so that the only one left parts the member.
    uri = _URI + quote(os.fsencode(path))
    return uri if member is None else f"{uri}!{quote(member.encode('utf-8', 'surrogateescape'))}"


def place_in(text: str) -> tuple[Path, str | None]:
    """The path in a text of `place_of`, and the member where it is one of a larger file."""
    if text.startswith(_URI):
        path, parted, member = text.removeprefix(_URI).partition("!")
        return Path(os.fsdecode(unquote_to_bytes(path))), _unquoted(member) if parted else None
    first = _WHOLE.search(text)
    if first is None:
        return Path(text), None
    return Path(text[: first.end() - 1]), text[first.end() :]


def readable(text: str) -> str:
    r"""A text with the bytes of it that are not in UTF-8 written out, as ``\xff``."""
    return text if _is_unicode(text) else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8; bytes of a name that cannot are kept by Python as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
