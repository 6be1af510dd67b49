"""The tensors in what a model takes and gives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from gradsight.backends.keras.trees import leaves, mapped


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


def numpy_of(tensor: Any) -> Any:
    """Copy to NumPy: float64 stays, everything else becomes float32."""
    dtype = "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
    if hasattr(tensor, "detach"):  # Keras's own way from PyTorch gives a deprecation warning of NumPy's
        return keras.ops.cast(tensor.detach(), dtype).cpu().numpy().copy()
    # Cast here, since JAX keeps what it compiles to cast arrays of each shape.
    found = np.asarray(tensor) if hasattr(tensor, "__array__") else keras.ops.convert_to_numpy(tensor)
    return np.array(found, dtype)
