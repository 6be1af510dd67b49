"""Reading what a model gives: a tensor, a dict, or a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from gradsight.backends.keras.trees import leaves, mapped

_SCORE_KEYS = ("logits", "out", "scores", "output", "predictions")


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def tensors_in(tree: Any) -> list[Any]:
    """The tensors of a model's input or output, in the order in which they were put there."""
    return [leaf for leaf in leaves(tree) if keras.ops.is_tensor(leaf)]


def floating_in(tree: Any) -> list[Any]:
    """The floating-point tensors of a model's input or output."""
    return [leaf for leaf in tensors_in(tree) if is_floating(leaf)]


def with_floating(tree: Any, values: list[Any]) -> Any:
    """The same with other floating-point tensors, in the order of `floating_in`."""
    left = iter(values)
    return mapped(lambda x: next(left) if keras.ops.is_tensor(x) and is_floating(x) else x, tree)


def full_precision(tensor: Any) -> Any:
    """Half precisions as float32: methods sum over thousands of products."""
    half = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return keras.ops.cast(tensor, "float32") if half else tensor


def scores_in(outputs: Any) -> Any:
    """The class scores in a model's output, (n, classes); None where there are none.

    A number for each image counts as one class, and so do class scores with positions of size one behind them.
    """
    tensor = _tensor_in(outputs)
    if tensor is None or not is_floating(tensor) or tensor.ndim == 0:
        return None
    if tensor.ndim == 1:
        return tensor[:, None]
    if tensor.ndim == 2:
        return tensor
    for axes in (tensor.shape[2:], tensor.shape[1:-1]):  # channels first or last
        if all(size == 1 for size in axes):
            return keras.ops.reshape(tensor, (tensor.shape[0], -1))
    return None


def numpy_of(tensor: Any) -> Any:
    """Copy to NumPy: float64 stays, everything else becomes float32."""
    if keras.backend.standardize_dtype(tensor.dtype) != "float64":
        tensor = keras.ops.cast(tensor, "float32")
    if hasattr(tensor, "detach"):  # Keras's own way from PyTorch gives a deprecation warning of NumPy's
        return tensor.detach().cpu().numpy().copy()
    return np.array(keras.ops.convert_to_numpy(tensor))


def _tensor_in(outputs: Any) -> Any:
    if isinstance(outputs, Mapping):
        named = (outputs.get(key) for key in _SCORE_KEYS)
        return next((x for x in (*named, *outputs.values()) if x is not None and keras.ops.is_tensor(x)), None)
    if isinstance(outputs, list | tuple):
        return next((x for x in outputs if keras.ops.is_tensor(x)), None)
    return outputs if keras.ops.is_tensor(outputs) else None


def describe(outputs: Any) -> str:
    """A model's output in words: its type, and shapes where it has any."""
    if keras.ops.is_tensor(outputs):
        return f"a tensor of shape {tuple(outputs.shape)}, dtype {keras.backend.standardize_dtype(outputs.dtype)}"
    if isinstance(outputs, Mapping):
        return f"{type(outputs).__name__} with {', '.join(f'{k}: {describe(v)}' for k, v in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"{type(outputs).__name__} of {', '.join(map(describe, outputs)) or 'nothing'}"
    return type(outputs).__name__
