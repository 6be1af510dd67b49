"""The engine of this process; others are not imported, and need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from gradsight.backends.keras.engines.protocol import Engine
from gradsight.errors import ModelError

if TYPE_CHECKING:
    from gradsight.backends.keras.view import View


def engine_for(view: View) -> Engine:
    """The engine of this process, at work on a view.

    Raises:
        ModelError: Keras runs on something else.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        from gradsight.backends.keras.engines.tensorflow import TensorFlow

        return TensorFlow(view)
    if name == "torch":
        from gradsight.backends.keras.engines.torch import Torch

        return Torch(view)
    if name == "jax":
        from gradsight.backends.keras.engines.jax import Jax

        return Jax(view)
    raise ModelError(
        f"Keras runs on {name!r}, on which gradsight takes no gradients. Set KERAS_BACKEND to tensorflow, jax or torch."
    )
