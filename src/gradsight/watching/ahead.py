"""Frames that a thread reads while others are explained."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Self

from PIL import Image

from gradsight.photos import Failed
from gradsight.watching.frame import Shot

_MOST = 16
"""Frames that wait."""

_MOST_PIXELS = 1 << 25
"""Of all frames that wait, some 100 MB."""

_LONGEST = 5.0
"""Seconds that a camera is waited for to end."""

Item = Shot | Failed[Shot]


class Ahead:
    """Frames in their order, decoded by a thread of their own; no more of them wait than a few.

    Args:
        shots: what the thread goes through.
        newest: of a camera: while nobody asks, older frames are dropped, so that what is seen is what is there now.

    Attributes:
        dropped: how many frames were.
    """

    def __init__(self, shots: Iterator[Item], *, newest: bool = False) -> None:
        self.dropped = 0
        self._shots, self._newest = shots, newest
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        # A daemon: a decoder that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._read, name="gradsight-decoding", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
        # After the frames before it, which are whole.
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def close(self) -> None:
        """End the thread; what it has read is forgotten."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Waited for, since it holds the file open; a camera that gives nothing more would be waited for always.
        self._thread.join(_LONGEST if self._newest else None)
        self._waiting.clear()

    def _read(self) -> None:
        try:
            for item in self._shots:
                # Nobody asks any more.
                if not self._put(item):
                    break
        except BaseException as error:  # it belongs to whoever asks for the frames
            self._error = error
        finally:
            # The file is closed by the thread that reads it: no other may be within the decoder then.
            let_go(self._shots)
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Item) -> bool:
        """Let an item wait; whether more are wanted."""
        with self._changed:
            if self._newest:
                self.dropped += len(self._waiting)
                self._waiting.clear()
            else:
                # Two at least, however large: one is decoded while the other is explained.
                most = min(_MOST, max(2, _MOST_PIXELS // _pixels(item)))
                self._changed.wait_for(lambda: self._closed or len(self._waiting) < most)
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._closed


def let_go(shots: Iterator[Item]) -> None:
    """Close what frames come from, if it can be closed: pictures of the user's may come from any iterator."""
    close = getattr(shots, "close", None)
    if close is not None:
        close()


def _pixels(item: Item) -> int:
    source = item.source if isinstance(item, Shot) else None
    return max(1, source.width * source.height) if isinstance(source, Image.Image) else 1
