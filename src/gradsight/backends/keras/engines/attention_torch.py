"""Attention on PyTorch: the mode that sees it in modules of PyTorch sees it in layers of Keras too."""

from __future__ import annotations

import torch

from gradsight.backends.keras.attention import Looking
from gradsight.backends.torch.seeing import Seeing


class Gate(Seeing):
    """Within it, and in this thread, the weights of every attention are shown to what looks."""

    def __init__(self, looking: Looking) -> None:
        super().__init__()
        self._looking = looking

    def _seen(self, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if not self._looking.is_here():
            return weights
        shown: torch.Tensor = self._looking.see(super()._seen(weights, dtype))
        return shown
