"""Code of the user's that is run while a model is loaded, and what it may do besides: end the program, fail oddly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from gradsight.errors import GradsightError, ModelError, cause, one_line

_PARSES = (
    "it may read the command line when it is imported, as argparse does: put that under "
    "`if __name__ == '__main__':`, or into a function of its own"
)


@contextmanager
def users(what: str) -> Iterator[None]:
    """Run code of the user's: whatever it raises is told in one line, also what would end the program.

    Args:
        what: failed, as the beginning of the sentence.

    Raises:
        ModelError: something failed. Errors of gradsight's own pass, and so does Ctrl-C.
    """
    try:
        yield
    except (GradsightError, KeyboardInterrupt):
        raise
    # Apart from other errors: argparse in the user's module may be why.
    except SystemExit as end:
        raise ModelError(f"{what}. It ended the program (SystemExit: {one_line(end)}); {_PARSES}.") from end
    except BaseException as error:
        raise ModelError(f"{what}. {type(error).__name__}: {one_line(error)}") from cause(error)


@contextmanager
def held_back_usage() -> Iterator[None]:
    """Keep what argparse says from stderr where code ends the program: it would read as if it were about gradsight."""
    stream = _Held(sys.stderr)
    before, sys.stderr = sys.stderr, stream
    try:
        yield
    except SystemExit:
        stream.kept.clear()
        raise
    finally:
        if sys.stderr is stream:
            sys.stderr = before
        stream.release()


class _Held:
    """A stream that keeps a text which begins as argparse's does, and all that follows, until it is let go."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.kept: list[str] = []
        self.holds = True

    def write(self, text: str) -> int:
        """Write, now or later."""
        if self.holds and (self.kept or text.startswith("usage: ")):
            self.kept.append(text)
        else:
            self.stream.write(text)
        return len(text)

    def release(self) -> None:
        """Write what was kept, and keep nothing from now on: whoever got hold of this stream goes on writing to it."""
        self.holds = False
        for text in self.kept:
            self.stream.write(text)
        self.kept.clear()

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)
