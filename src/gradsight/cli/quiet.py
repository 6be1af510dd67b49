"""What libraries say on the side is kept back, and told if the command fails: warnings, logs, words at their import."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TextIO

FRAMEWORKS = frozenset(
    "jax keras onnx onnx2pytorch onnxruntime tensorflow timm torch torchvision transformers".split()  # noqa: SIM905
)
"""What may speak while it is imported, whoever imports it."""

_MOST = 5
# What lies in these folders is somebody else's; what does not is the user's, whose logs are shown.
_LIBRARIES = tuple(
    {
        os.path.join(path, "")
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if (path := sysconfig.get_path(name))
    }
)
_kept: list[str] = []


def keep(text: str) -> None:
    """Keep a remark of a library, of which the first few may explain a failure."""
    line = " ".join(text.split())
    if line not in _kept and len(_kept) < _MOST:
        _kept.append(line)


def take() -> list[str]:
    """What was kept, which is then forgotten."""
    taken = _kept[:]
    _kept.clear()
    return taken


@contextmanager
def libraries() -> Iterator[None]:
    """Keep back what libraries warn of, log to the terminal, and print while they are imported.

    A user who asked Python for warnings (``-W``, PYTHONWARNINGS) gets them as Python shows them. What a model of the
    user's prints or logs is shown as it is. Only imports speak again afterwards: threads and what runs at exit go on.
    """
    finder = _Quietly()
    # The first, so that it is asked before those that find the frameworks.
    sys.meta_path.insert(0, finder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow speaks at its first operation too
    # Not a filter: what is kept may explain a failure later.
    if not sys.warnoptions:
        warnings.showwarning = lambda message, category, *_, **__: keep(f"{category.__name__}: {message}")
    # On the class: libraries make handlers of their own, whenever they are imported.
    emit = logging.StreamHandler.emit
    logging.StreamHandler.emit = _emitting(emit)  # type: ignore[method-assign,assignment]
    # Python's own writes a traceback for each error in a `__del__` or in a thread.
    sys.unraisablehook = lambda failed: keep(f"{type(failed.exc_value).__name__}: {failed.exc_value}")
    threading.excepthook = lambda failed: keep(f"a thread failed: {failed.exc_type.__name__}: {failed.exc_value}")
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


Emit = Callable[["logging.StreamHandler[TextIO]", logging.LogRecord], None]


def _emitting(emit: Emit) -> Emit:
    """What takes the place of a handler's ``emit``: it keeps back what libraries log to the terminal."""

    def emitting(handler: logging.StreamHandler[TextIO], record: logging.LogRecord) -> None:
        # A handler that writes into a file of the user's is left alone.
        shown = handler.stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
        if shown and os.path.abspath(record.pathname).startswith(_LIBRARIES):
            keep(f"{record.name}: {record.getMessage()}")
        else:
            emit(handler, record)

    return emitting


class _Quietly(MetaPathFinder):
    """Finds frameworks, as they are found anyway, and keeps back what they write while they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a framework, whose loader is made quiet."""
        if fullname not in FRAMEWORKS:
            return None
        # Without itself, or it would be asked without end.
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
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
            # Descriptors and not sys.stdout: code in C writes past Python.
            kept[descriptor] = os.dup(descriptor)
    # A file, not a pipe: a full pipe would stop the import for ever.
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
        # What Python still holds was said during the import, and belongs into the file.
        if stream is not None:
            stream.flush()
    # Emptied on the way: after a failure this runs twice.
    for descriptor in list(kept):
        saved = kept.pop(descriptor)
        os.dup2(saved, descriptor)
        os.close(saved)
