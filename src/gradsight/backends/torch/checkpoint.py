"""Checkpoints as plain calls: recomputing is no matter of a view's pass, which has a graph of the tail alone.

`torch.utils.checkpoint` runs a function without a graph and once more on the way back, where no layer is tapped. It
changes no values, so that within a pass the function is simply called. Other threads checkpoint as ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils import checkpoint as torch_checkpoint

_here = threading.local()
_lock = threading.Lock()
_passes = 0
_theirs: tuple[Any, Any] = (None, None)  # what the two names stood for before


class _Reentrant(torch_checkpoint.CheckpointFunction):
    """The reentrant kind, but for threads in a pass."""

    @classmethod
    def apply(cls, function: Callable[..., Any], preserve: bool, *arguments: Any) -> Any:
        if getattr(_here, "depth", 0):
            return function(*arguments)
        return _theirs[0].apply(function, preserve, *arguments)


def _around(
    function: Callable[..., Any], preserve: bool, context: Callable[[], Any], *rest: Any, **keywords: Any
) -> Any:
    """What the other kind does before and after it calls the function, but for threads in a pass."""
    if getattr(_here, "depth", 0):
        return _plainly(context)
    return _theirs[1](function, preserve, context, *rest, **keywords)


def _plainly(context: Callable[[], Any]) -> Iterator[None]:
    forward, _recompute = context()
    with forward:
        yield


@contextlib.contextmanager
def called_plainly() -> Iterator[None]:
    """Within it checkpoints of this thread are plain calls."""
    _count(1)
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        _count(-1)


def _count(change: int) -> None:
    """The two names that `checkpoint` looks up are ours as long as some thread is in a pass."""
    global _passes, _theirs
    module: Any = torch_checkpoint
    with _lock:
        before, _passes = _passes, _passes + change
        if not before:
            _theirs = module.CheckpointFunction, module._checkpoint_without_reentrant_generator
            module.CheckpointFunction, module._checkpoint_without_reentrant_generator = _Reentrant, _around
        elif not _passes:
            module.CheckpointFunction, module._checkpoint_without_reentrant_generator = _theirs
