"""The image among what a model is given."""

from __future__ import annotations

from typing import Any

import keras

from gradsight.backends.keras.engines.replay import tiled
from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.errors import ModelError


def image_in(inputs: Any) -> Any:
    """The image among the inputs, which maps are drawn on: of those with most axes the first.

    Raises:
        ModelError: there is none.
    """
    tensors = tensors_in(inputs)
    found = [x for x in tensors if is_floating(x) and x.ndim >= 3]
    if not found:
        raise ModelError(
            "`inputs` must hold an image, a signal or a volume: an array (n, positions ..., channels), or as the "
            f"model has its axes. Received: {', '.join(str(tuple(x.shape)) for x in tensors)}. A single image needs a "
            "batch axis: pass inputs[None]."
        )
    return max(found, key=lambda x: x.ndim)


def with_image(inputs: Any, image: Any, times: int = 1) -> Any:
    """The inputs with another image, and everything else ``times`` times as often."""
    old = image_in(inputs)

    def change(x: Any) -> Any:
        return keras.ops.cast(image, old.dtype) if x is old else tiled(x, times)

    return keras.tree.map_structure(change, inputs)


def first_row(inputs: Any) -> Any:
    """The first row of every tensor."""
    return keras.tree.map_structure(lambda x: x[:1] if keras.ops.is_tensor(x) and x.ndim else x, inputs)
