"""Whose stdout it is: gradsight's own. What anything else writes goes to stderr, and what frameworks say is kept back.

A model is the user's code, and runs others' code: it may print, from Python, from C, and from processes that it starts.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TextIO

FRAMEWORKS = frozenset(
    "jax keras onnx onnx2pytorch onnxruntime tensorflow timm torch torchvision transformers".split()  # noqa: SIM905
)
"""What may speak while it is imported, whoever imports it."""

_ours: list[TextIO] = []


def stdout() -> TextIO:
    """Where gradsight's own words go."""
    return _ours[-1] if _ours else sys.stdout


@contextmanager
def others_to_stderr() -> Iterator[None]:
    """Let whatever prints write to stderr meanwhile; `stdout` stays what it was."""
    outer = sys.stdout
    if outer is None:  # closed
        yield
        return
    _ours.append(outer)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = outer
        _ours.pop()


@contextmanager
def own_process() -> Iterator[None]:
    """Take stdout from all but this process's `sys.stdout`, to the process's end, and keep frameworks quiet.

    Not undone: what C code has buffered is written when the process ends.
    """
    own, finder = _stdout_alone(), _Quietly()
    sys.meta_path.insert(0, finder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow speaks at its first operation too
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if own is not None:
            sys.stdout = sys.stderr  # for functions that run at exit
            with suppress(BrokenPipeError):  # Typer has dealt with a reader that left
                own.close()


def _stdout_alone() -> TextIO | None:
    """Move `sys.stdout` from file descriptor 1, which then leads to stderr, to one of its own; None if it is closed."""
    given = sys.stdout
    try:
        given.flush()
        if given.fileno() != 1:
            return None
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return None
    _open_stderr()
    own = os.dup(1)
    os.dup2(2, 1)
    by_line = isinstance(given, io.TextIOWrapper) and given.line_buffering
    sys.stdout = open(own, "w", 1 if by_line else -1, encoding=given.encoding, errors=given.errors)  # noqa: SIM115
    return sys.stdout


def _open_stderr() -> None:
    """See that file descriptor 2 is open: the next file would get its number."""
    try:
        os.fstat(2)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != 2:
            _move(nowhere, 2)


def _move(descriptor: int, to: int) -> None:
    os.dup2(descriptor, to)
    os.close(descriptor)


class _Quietly(MetaPathFinder):
    """Finds frameworks, as they are found anyway, and keeps back what they write while they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a framework, whose loader is made quiet."""
        if fullname not in FRAMEWORKS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            _make_quiet(spec.loader)
        return spec


def _make_quiet(loader: Loader) -> None:
    execute = loader.exec_module

    def quiet(module: ModuleType) -> None:
        with kept_back():
            execute(module)

    loader.exec_module = quiet  # type: ignore[method-assign]


@contextmanager
def kept_back() -> Iterator[None]:
    """Keep what is written to file descriptors 1 and 2 in a temporary file, and show it on stderr if this fails."""
    kept = {}
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            kept[descriptor] = os.dup(descriptor)
    with tempfile.TemporaryFile() as file:
        try:
            for descriptor in kept:
                os.dup2(file.fileno(), descriptor)
            yield
        except Exception:
            _restore(kept)
            file.seek(0)
            with suppress(OSError):
                os.write(2, file.read())
            raise
        finally:
            _restore(kept)


def _restore(kept: dict[int, int]) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for descriptor in list(kept):
        _move(kept.pop(descriptor), descriptor)
