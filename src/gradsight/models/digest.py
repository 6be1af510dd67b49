"""A short text that tells the weights of a model from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from gradsight.foreign import Module
from gradsight.models.keras.backend import is_keras


def digest_of(model: Module) -> str | None:
    """SHA-256 of all weights of a module with their names, types and shapes, as hexadecimal digits.

    Args:
        model: a `torch.nn.Module` or a `keras.Model`.

    Returns:
        The digest; the same wherever the weights lie and whatever process asks. None for what has no weights to ask.
    """
    found = hashlib.sha256()
    # Keras first: on PyTorch its models are modules too, whose states hold random numbers of Dropout and the like.
    of_torch = hasattr(model, "state_dict") and not is_keras(model)
    pieces = _of_torch(model) if of_torch else _of_keras(model)
    is_empty = True
    for name, content in pieces:
        found.update(f"{name}\0".encode())
        found.update(content)
        is_empty = False
    return None if is_empty else found.hexdigest()


def _of_torch(model: Module) -> Iterator[tuple[str, bytes]]:
    import torch

    for name, value in model.state_dict().items():
        # What a module keeps beside tensors is its own affair.
        if isinstance(value, torch.Tensor):
            dense = value.detach().to("cpu")
            dense = dense.to_dense() if dense.layout != torch.strided else dense
            dense = dense.int_repr() if dense.is_quantized else dense
            # As bytes: NumPy has no bfloat16.
            content = dense.contiguous().reshape(-1).view(torch.uint8).numpy()
            yield f"{name} {value.dtype} {tuple(value.shape)}", content.tobytes()


def _of_keras(model: Module) -> Iterator[tuple[str, bytes]]:
    # Not `variables`: those of random numbers change with each draw.
    for variable in getattr(model, "weights", ()):
        values = np.asarray(variable.numpy())
        name = getattr(variable, "path", variable.name)
        yield f"{name} {values.dtype} {values.shape}", values.tobytes()
