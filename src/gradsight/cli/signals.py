"""What ends a command from outside: Ctrl-C, SIGTERM, a terminal that closes."""

from __future__ import annotations

import signal
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """A signal asks for the end.

    A KeyboardInterrupt, so that nothing takes it for a failure of what runs, and what is half done is cleaned up.

    Attributes:
        status: what a shell reports of a process that the signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


def heed() -> None:
    """Let signals raise `Ended`, except those that whoever started the process told it not to mind, as nohup does."""
    for name in _NAMES:
        # Windows has no SIGHUP.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_DFL)  # a second one ends even what catches every exception
    raise Ended(number)
