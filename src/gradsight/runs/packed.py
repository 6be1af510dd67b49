"""A list of texts in one piece of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Packed:
    """Texts without null characters, in their order: of names of files a fifth of what a list of them takes."""

    def __init__(self, texts: Iterable[str]) -> None:
        # Names of files hold no null character, and are kept with bytes that are no text.
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._count, self._bytes = len(encoded), b"\0".join(encoded)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        start = 0
        for _ in range(self._count):
            end = self._bytes.find(b"\0", start)
            piece = self._bytes[start:] if end < 0 else self._bytes[start:end]
            yield piece.decode("utf-8", "surrogatepass")
            start = end + 1
