"""Keys that no two photos of a run share, told apart in bounded memory."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_LEAST = 1 << 10


class Keys:
    """Makes each key differ from all before it: the second ``"a.jpg"`` becomes ``"a.jpg#2"``.

    Of a key 8 bytes are kept, in a table of 12 to 24 bytes a key, so that a million take some 16 MB. Two texts that
    share these bytes cost no photo: the later one only gets a number that it did not need. What a key becomes depends
    on the keys before it alone, so that a run that goes on calls its photos as before.

    >>> keys = Keys()
    >>> [keys.own(key) for key in ("a.jpg", "b.jpg", "a.jpg", "a.jpg")]
    ['a.jpg', 'b.jpg', 'a.jpg#2', 'a.jpg#3']
    """

    def __init__(self) -> None:
        # Zeros are free places; open addressing, with steps of one.
        self._table = array("Q", bytes(8 * _LEAST))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def own(self, key: str) -> str:
        """The key, numbered if it is taken; it is taken from now on."""
        if not self._add(key):
            key = self._numbered(key)
            self._add(key)
        return key

    def _numbered(self, key: str) -> str:
        """A free key. The numbers in use are a row from 2 on, so that its end is found by doubling and halving."""
        # One by one, a list of one photo a million times would take a million steps for the last.
        last = 1
        while self._has(f"{key}#{2 * last}"):
            last *= 2
        step = last
        while step := step // 2:
            if self._has(f"{key}#{last + step}"):
                last += step
        return f"{key}#{last + 1}"

    def _has(self, key: str) -> bool:
        return bool(self._table[self._place(_digest(key))])

    def _add(self, key: str) -> bool:
        """Whether a key was free."""
        digest = _digest(key)
        place = self._place(digest)
        # A place that is not free holds this very digest.
        if self._table[place]:
            return False
        self._table[place] = digest
        self._count += 1
        # Fuller than two thirds, searches would take many steps.
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def _place(self, digest: int) -> int:
        """Where a digest lies, or the free place that it would get."""
        table, mask = self._table, len(self._table) - 1
        place = digest & mask
        while (found := table[place]) and found != digest:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        # Each digest has another place in the larger table.
        before, self._table = self._table, array("Q", bytes(16 * len(self._table)))
        for digest in before:
            if digest:
                self._table[self._place(digest)] = digest


def _digest(key: str) -> int:
    # Never 0, which means a free place.
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1
