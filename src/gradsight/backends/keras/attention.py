"""Seeing the attention weights of a view's pass, and saying what the model computes with instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import keras

from gradsight.backends.keras.engines.attention_fused import HIDDEN
from gradsight.backends.keras.engines.protocol import Engine
from gradsight.errors import ModelError
from gradsight.foreign import Array

See: TypeAlias = Callable[[Array], Array]
"""``weights -> weights``: sees the weights of one attention, and gives what the model goes on with."""


class Looking:
    """What looks at the attention of one pass.

    Attributes:
        see: is shown the weights.
        hidden: an attention ran where nothing can be seen.
    """

    def __init__(self, see: See, level: Callable[[], object]) -> None:
        """Look from now on.

        Args:
            see: is shown the weights.
            level: tells what the engine traces at the moment; it changes within a loop.
        """
        self.see, self.hidden = see, False
        self._level, self._home = level, level()

    def is_here(self) -> bool:
        """Whether weights that are computed now can be shown: those of one step of a loop may not leave it."""
        here = self._level() == self._home
        self.hidden = self.hidden or not here
        return here


@contextlib.contextmanager
def attending(see: See, engine: Engine) -> Iterator[None]:
    """Within it, and in this thread, ``see`` is shown the weights of every attention, in the order in which they run.

    An attention is a softmax over the last axis of (rows, heads, q, k) or (rows, q, k), or a fused one.

    Raises:
        ModelError: one ran within a loop, or within whatever else the engine traces by itself, where none can be seen.
    """
    looking = Looking(see, engine.trace_level)
    with _gate(looking, engine):
        yield
    if looking.hidden:
        raise ModelError(HIDDEN)


def _gate(looking: Looking, engine: Engine) -> contextlib.AbstractContextManager[object]:
    if keras.backend.backend() == "torch":  # other engines are not imported, and need not be installed
        from gradsight.backends.keras.engines.attention_torch import Gate

        return Gate(looking)
    from gradsight.backends.keras.engines.attention_names import gate

    return gate(looking, engine.activations)
