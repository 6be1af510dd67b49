"""The image among what a model is given."""

from __future__ import annotations

from typing import Any

import keras

from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.backends.keras.trees import mapped
from gradsight.errors import ModelError


def image_in(inputs: Any) -> Any:
    """The image among the inputs, which maps are drawn on: of those with most axes the user's first.

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
    old = [image_in(inputs)]

    def change(x: Any) -> Any:
        if old and x is old[0]:
            return keras.ops.cast(image, old.pop().dtype)  # once: the same array may be two of the inputs
        return x if times == 1 else tiled(x, times, n)

    n = 0 if times == 1 else count(inputs)  # of one that is traced the number may not be known
    return mapped(change, inputs)


def has_rows(x: Any, n: int) -> bool:
    """Whether something is a tensor with a row for each of n images."""
    return keras.ops.is_tensor(x) and x.ndim > 0 and len(x) == n


def tiled(tree: Any, times: int, n: int) -> Any:
    """The tensors in inputs or outputs with n rows, their rows repeated as a whole: row j is row j % n."""
    if times == 1:
        return tree
    return mapped(lambda x: keras.ops.concatenate([x] * times) if has_rows(x, n) else x, tree)


def first_row(inputs: Any) -> Any:
    """The first row of every tensor that has one for each image."""
    n = count(inputs)
    return mapped(lambda x: x[:1] if has_rows(x, n) else x, inputs)


def count(inputs: Any) -> int:
    """How many images a batch holds."""
    return len(image_in(inputs))


def private(inputs: Any) -> Any:
    """The inputs in memory of their own: a model may write into what it is given."""
    return mapped(lambda x: keras.ops.copy(x) if keras.ops.is_tensor(x) else x, inputs)
