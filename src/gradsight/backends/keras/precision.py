"""How precisely an engine of Keras computes with a tensor here."""

from __future__ import annotations

import keras

from gradsight.foreign import Array

HALVES = ("float16", "bfloat16")


def is_coarse(tensor: Array) -> bool:
    """Whether what is computed with such a tensor has about three digits, and not seven or more.

    Half precisions have no more; nor has float32 where a GPU multiplies in TF32, or a TPU in bfloat16, as all engines
    let them.
    """
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return dtype in HALVES or (dtype == "float32" and not _is_on_cpu(tensor))


def _is_on_cpu(tensor: Array) -> bool:
    # "cpu" on JAX and PyTorch, "/job:localhost/replica:0/task:0/device:CPU:0" on TensorFlow; within a graph there is
    # none, and NumPy's are on no other.
    device = getattr(tensor, "device", None)
    return not device or "cpu" in str(device).lower()
