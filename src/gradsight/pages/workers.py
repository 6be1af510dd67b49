"""Threads that ask the models: a few at a time, and nobody waits for them without end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from gradsight.errors import InvalidArgument

T = TypeVar("T")


class Workers:
    """So many threads, and so many seconds for each thing that is asked of them.

    Args:
        count: of threads.
        seconds: that are waited for an answer, the time in the queue of the threads included.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds, self._count = seconds, count
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for number in range(count):
            # Daemons, and no executor, whose threads are waited for at the end: a pass of minutes would hold up Ctrl-C.
            threading.Thread(target=self._work, name=f"page {number}", daemon=True).start()

    def run(self, ask: Callable[[], T]) -> T:
        """What a function gives.

        Raises:
            InvalidArgument: it takes too long. It goes on, since nothing can stop a pass, and its thread is free after.
            Exception: whatever the function raises.
        """
        future: Future[T] = Future()
        self._asked.put(lambda: _answer(future, ask))
        try:
            return future.result(self._seconds)
        except TimeoutError:
            if future.done():  # it raised such an error itself
                raise
            # What has not begun does not begin any more.
            future.cancel()
            raise InvalidArgument(
                f"There is no answer within this page's limit of {self._seconds:.0f} seconds. Ask again later, or for "
                "fewer maps."
            ) from None

    def close(self) -> None:
        """End the threads, without waiting for what they are at."""
        for _ in range(self._count):
            self._asked.put(None)

    def _work(self) -> None:
        while (answer := self._asked.get()) is not None:
            answer()


def _answer(future: Future[T], ask: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(ask())
    except BaseException as error:  # a model may raise what is no Exception: who asked is told
        future.set_exception(error)
