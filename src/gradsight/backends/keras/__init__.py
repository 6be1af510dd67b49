"""Keras 3 on TensorFlow, JAX or PyTorch: any `keras.Model`, and nothing of it is touched (see `view`)."""

from gradsight.backends.keras.backend import KerasBackend
from gradsight.backends.keras.model import KerasModel

__all__ = ["KerasBackend", "KerasModel"]
