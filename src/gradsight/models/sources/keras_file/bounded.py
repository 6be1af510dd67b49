"""A Keras model is made from its configuration, which may claim any number of weights: no more than the file stores."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from gradsight.errors import ModelError, received
from gradsight.locks import Lock

_SPARE = 10_000_000
"""Of values that a model may have beside those that are stored, such as the states of what it draws."""

Sides = Sequence[int | None] | int
"""The lengths of an array's axes; None for one of any length."""

_lock = Lock()  # a model may hold one that is loaded on the way


@contextmanager
def bounded_variables(keras: ModuleType, stored: int, path: Path) -> Iterator[None]:
    """Stop making a model, before its next variable is allocated, when it has far more values than there are stored.

    Other threads make what they like meanwhile.

    Args:
        keras: the package.
        stored: how many values the file has.
        path: of the file, for the message.

    Raises:
        ModelError: it has.
    """
    here, most, counted = threading.get_ident(), stored * 3 // 2 + _SPARE, 0
    owner = next(kind for kind in keras.Variable.__mro__ if "__init__" in vars(kind))
    original = owner.__init__

    @functools.wraps(original)
    def made(
        self: object, initializer: object, shape: Sides | None = None, *arguments: object, **options: object
    ) -> None:
        nonlocal counted
        # the class is patched for the whole process, and other threads may build models of their own
        if threading.get_ident() == here:
            sides: Sides = getattr(initializer, "shape", ()) if shape is None else shape
            lengths: Sequence[int | None] = sides if isinstance(sides, Sequence) else [sides]
            counted += math.prod(length for length in lengths if length)
            if counted > most:
                raise ModelError(
                    f"model: the configuration in this file asks for {counted:,} weights or more, and the file stores "
                    f"{stored:,}. {received(str(path))} Save the model again: model.save('model.keras')."
                )
        original(self, initializer, shape, *arguments, **options)

    with _lock:
        owner.__init__ = made
        try:
            yield
        finally:
            owner.__init__ = original
