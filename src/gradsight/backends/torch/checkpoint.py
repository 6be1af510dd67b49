"""Checkpoints as plain calls: recomputing is no matter of a view's pass, which has a graph of the tail alone.

`torch.utils.checkpoint` runs a function without a graph and once more on the way back, where no layer is tapped. It
changes no values, so that within a pass the function is simply called. Other threads checkpoint as ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

from torch.utils import checkpoint as torch_checkpoint

from gradsight.backends.patch import Patch, Replacement
from gradsight.foreign import Outputs

_KINDS = ("CheckpointFunction", "_checkpoint_without_reentrant_generator")
"""The names that `checkpoint` looks up: of the reentrant kind, and of the other."""

Contexts: TypeAlias = Callable[[], tuple[contextlib.AbstractContextManager[None], object]]
"""Gives what a checkpoint runs its function within, the first time and when it is recomputed."""

_here = threading.local()
_theirs: dict[str, Any] = {}  # what the two names stood for before


class _Reentrant(torch_checkpoint.CheckpointFunction):
    """The reentrant kind, but for threads in a pass."""

    @classmethod
    def apply(cls, function: Callable[..., Outputs], preserve: bool, *arguments: Any) -> Outputs:
        if getattr(_here, "depth", 0):
            return function(*arguments)
        return _theirs[_KINDS[0]].apply(function, preserve, *arguments)


def _around(
    function: Callable[..., Outputs], preserve: bool, context: Contexts, *rest: Any, **keywords: Any
) -> Iterator[None]:
    """What the other kind does before and after it calls the function, but for threads in a pass."""
    if getattr(_here, "depth", 0):
        return _plainly(context)
    theirs: Iterator[None] = _theirs[_KINDS[1]](function, preserve, context, *rest, **keywords)
    return theirs


def _plainly(context: Contexts) -> Iterator[None]:
    # A context of the user's own, as for selective checkpoints, is kept: it may do more than recompute.
    forward, _recompute = context()
    with forward:
        yield


def _ours() -> list[Replacement]:
    # Looked up when the first pass comes in, since another tool may have put its own there in the meantime.
    module: ModuleType = torch_checkpoint
    _theirs.update({name: getattr(module, name) for name in _KINDS})
    return [(module, name, ours) for name, ours in zip(_KINDS, (_Reentrant, _around), strict=True)]


_patched = Patch(_ours)


class _CalledPlainly:
    """Within it checkpoints of this thread are plain calls. It holds nothing, so that one serves all."""

    def __enter__(self) -> None:
        _patched.enter()
        _here.depth = getattr(_here, "depth", 0) + 1

    def __exit__(self, *_error: object) -> None:
        _here.depth -= 1
        _patched.leave()


called_plainly = _CalledPlainly()
