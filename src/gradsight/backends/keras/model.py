"""The user's Keras model, which may change between calls."""

from __future__ import annotations

from functools import partial

from gradsight.backends.keras.backend import KerasBackend
from gradsight.backends.reading import NOTHING, Known
from gradsight.foreign import Module
from gradsight.locks import Lock


class KerasModel:
    """`contracts.UserModel` for one Keras model. Threads may share it."""

    def __init__(self, model: Module, known: Known = NOTHING, *, probabilities: bool = False) -> None:
        """Keep the model; nothing is run or copied yet. The arguments are those of `KerasBackend`."""
        self._make = partial(KerasBackend, model, known, probabilities=probabilities)
        self._lock = Lock()
        self._kept: KerasBackend | None = None

    def backend(self) -> KerasBackend:
        """The backend of the model as it is now: the last one, or a new one when the model has changed since."""
        with self._lock:
            if self._kept is None or not self._kept.view.is_current():
                self._kept = self._make()
            return self._kept

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_kept": None}  # a copy makes its own view, of its own model
