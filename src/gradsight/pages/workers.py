"""Threads that ask the models: a few at a time, and nobody waits for them without end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        self._threads, self._seconds = ThreadPoolExecutor(count, thread_name_prefix="page"), seconds

    def run(self, ask: Callable[[], T]) -> T:
        """What a function gives.

        Raises:
            InvalidArgument: it takes too long. It goes on, since nothing can stop a pass, and its thread is free after.
            Exception: whatever the function raises.
        """
        asked = self._threads.submit(ask)
        try:
            return asked.result(self._seconds)
        except TimeoutError:
            if asked.done():  # it raised such an error itself
                raise
            asked.cancel()
            raise InvalidArgument(
                f"There is no answer within this page's limit of {self._seconds:.0f} seconds. Ask again later, or for "
                "fewer maps."
            ) from None

    def close(self) -> None:
        """End the threads, without waiting for what they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
