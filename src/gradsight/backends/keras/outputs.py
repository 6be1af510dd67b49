"""The tensors in what a model takes and gives."""

from __future__ import annotations

import keras
import numpy as np

from gradsight.backends.keras.precision import HALVES
from gradsight.backends.keras.trees import flat, mapped
from gradsight.contracts import Floats
from gradsight.foreign import Array, Outputs


def is_floating(tensor: Array) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def tensors_in(tree: Outputs) -> list[Array]:
    """The tensors of a model's input or output, in the order in which they were put there."""
    return [value for value in flat(tree) if keras.ops.is_tensor(value)]


def floating_in(tree: Outputs) -> list[Array]:
    """The floating-point tensors of a model's input or output."""
    return [value for value in tensors_in(tree) if is_floating(value)]


def with_floating(tree: Outputs, values: list[Array]) -> Outputs:
    """The same with other floating-point tensors, in the order of `floating_in`."""
    left = iter(values)
    return mapped(lambda x: next(left) if keras.ops.is_tensor(x) and is_floating(x) else x, tree)


def repeated(outputs: Outputs, times: int, n: int) -> Outputs:
    """Every tensor in outputs that has n rows, its rows repeated as a whole: row j is row j % n."""

    def change(x: Array) -> Array:
        has_rows = keras.ops.is_tensor(x) and x.ndim > 0 and len(x) == n
        return keras.ops.concatenate([x] * times) if has_rows else x

    return mapped(change, outputs)


def full_precision(tensor: Array) -> Array:
    """Half precisions as float32: methods sum over thousands of products."""
    half = keras.backend.standardize_dtype(tensor.dtype) in HALVES
    return keras.ops.cast(tensor, "float32") if half else tensor


def numpy_of(tensor: Array) -> Floats:
    """Copy to NumPy: float64 stays, everything else becomes float32."""
    dtype = "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
    if hasattr(tensor, "detach"):  # Keras's own way from PyTorch gives a deprecation warning of NumPy's
        numbers: Floats = keras.ops.cast(tensor.detach(), dtype).cpu().numpy().copy()
        return numbers
    # Cast here, since JAX keeps what it compiles to cast arrays of each shape.
    values = np.asarray(tensor) if hasattr(tensor, "__array__") else keras.ops.convert_to_numpy(tensor)
    return np.array(values, dtype)
