"""Which keys have been seen, in 16 bytes each: a million of them in 16 MB."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

SIZE = 16
"""Of a digest in bytes. Two of a billion keys have the same with a probability of 1e-21."""


def as_text(key: str) -> str:
    r"""A key as a table keeps it: a name of a file may hold bytes that are no text, and those are written out.

    >>> as_text("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return key.encode("utf-8", "backslashreplace").decode()


def digest(key: str) -> bytes:
    """The digest of a key, the same for the key as a table keeps it."""
    return blake2b(as_text(key).encode(), digest_size=SIZE).digest()


def digests(keys: Iterable[str]) -> NDArray[np.bytes_]:
    """The digests of several keys, (n,)."""
    # Bytes and not numbers: NumPy sorts and compares them as they are.
    return np.array([digest(key) for key in keys], f"S{SIZE}")


class Done:
    """The keys that a run has already; ``key in done``.

    >>> "a.jpg" in Done(digests(["a.jpg", "b.jpg"]))
    True

    Attributes:
        digests: of the keys, sorted.
    """

    def __init__(self, found: NDArray[np.bytes_]) -> None:
        # Sorted, and looked up by halving: a set of Python's takes ten times the memory.
        self.digests = np.unique(found)

    def __len__(self) -> int:
        return len(self.digests)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        wanted = np.array(digest(key), self.digests.dtype)
        # To NumPy a digest that ends in zeros is as one without them; all have one length, so that none is mistaken.
        place = int(np.searchsorted(self.digests, wanted))
        return place < len(self.digests) and bool(self.digests[place] == wanted)
