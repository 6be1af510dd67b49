"""The user's PyTorch model, which may change between calls."""

from __future__ import annotations

from torch import nn

from gradsight.backends.reading import NOTHING, Known
from gradsight.backends.torch.backend import TorchBackend
from gradsight.foreign import Module
from gradsight.locks import Lock


def is_torch(model: Module) -> bool:
    """Whether a model is PyTorch's."""
    return isinstance(model, nn.Module)


class TorchModel:
    """`contracts.UserModel` for one `torch.nn.Module`. Threads may share it."""

    def __init__(self, model: nn.Module, known: Known = NOTHING) -> None:
        """Keep the model, and what is known of its scores; nothing is run or copied yet."""
        self._model, self._known = model, known
        self._lock = Lock()
        self._kept: TorchBackend | None = None

    def backend(self) -> TorchBackend:
        """The backend of the model as it is now: the last one, or a new one when the model has changed since."""
        with self._lock:
            if self._kept is None or not self._kept.view.is_current():
                self._kept = TorchBackend(self._model, self._known)
            return self._kept

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_kept": None}  # a copy makes its own view, of its own model
