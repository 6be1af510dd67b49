"""Reading what a model gives: a tensor, a dict, a tuple, or a Hugging Face output object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_SCORE_KEYS = ("logits", "out", "scores", "output", "predictions")


def scores_in(outputs: Any) -> torch.Tensor | None:
    """The tensor of class scores in a model's output, (n, classes); None where there is none.

    A number for each image counts as one class, and so do class scores with positions of size one behind them.
    """
    tensor = _tensor_in(outputs)
    if tensor is None or not tensor.is_floating_point() or tensor.ndim == 0:
        return None
    if tensor.ndim == 1:
        return tensor[:, None]
    if all(size == 1 for size in tensor.shape[2:]):
        return tensor.flatten(1)
    return None


def _tensor_in(outputs: Any) -> torch.Tensor | None:
    if isinstance(outputs, torch.Tensor):
        return outputs
    if isinstance(outputs, Mapping):  # Hugging Face outputs are mappings too
        named = (outputs.get(key) for key in _SCORE_KEYS)
        return next((x for x in (*named, *outputs.values()) if isinstance(x, torch.Tensor)), None)
    if isinstance(outputs, list | tuple):
        fields = [getattr(outputs, key, None) for key in _SCORE_KEYS]
        return next((x for x in (*fields, *outputs) if isinstance(x, torch.Tensor)), None)
    logits = getattr(outputs, "logits", None)
    return logits if isinstance(logits, torch.Tensor) else None


def describe(outputs: Any) -> str:
    """A model's output in words: its type, and shapes where it has any."""
    if isinstance(outputs, torch.Tensor):
        return f"a tensor of shape {tuple(outputs.shape)}, dtype {outputs.dtype}"
    if isinstance(outputs, Mapping):
        return f"{type(outputs).__name__} with {', '.join(f'{k}: {describe(v)}' for k, v in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"{type(outputs).__name__} of {', '.join(map(describe, outputs)) or 'nothing'}"
    return type(outputs).__name__
