"""The image among what a model is given."""

from __future__ import annotations

from typing import Any

import keras

from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.backends.keras.trees import filled, leaves, mapped
from gradsight.errors import ModelError
from gradsight.foreign import Inputs


def image_in(inputs: Inputs) -> Any:
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


def extras(inputs: Inputs) -> tuple[int, ...]:
    """Which tensors beside the image have as many rows, counted in their order."""
    image = image_in(inputs)
    return tuple(i for i, x in enumerate(leaves(inputs)) if x is not image and has_rows(x, len(image)))


def with_image(inputs: Inputs, image: Any, times: int = 1, *, shared: frozenset[int] = frozenset()) -> Any:
    """The inputs with another image, and ``times`` times as often whatever has a row for each image.

    Args:
        inputs: a batch.
        image: the other image.
        times: how often the rest is repeated.
        shared: which tensors, counted in their order, are the same for every image, however many rows they have.
    """
    old = [image_in(inputs)]
    n = 0 if times == 1 else count(inputs)  # of one that is traced the number may not be known

    def change(i: int, x: Any) -> Any:
        if old and x is old[0]:
            return keras.ops.cast(image, old.pop().dtype)  # once: the same array may be two of the inputs
        return x if times == 1 or i in shared else tiled(x, times, n)

    return filled(inputs, [change(i, x) for i, x in enumerate(leaves(inputs))])


def row(inputs: Inputs, i: int, times: int = 1, *, shared: frozenset[int] = frozenset()) -> Any:
    """A batch of image ``i`` and what belongs to it, ``times`` times; ``shared`` as in `with_image`."""
    n = count(inputs)

    def change(place: int, x: Any) -> Any:
        return tiled(x[i : i + 1], times, 1) if place not in shared and has_rows(x, n) else x

    return filled(inputs, [change(place, x) for place, x in enumerate(leaves(inputs))])


def has_rows(x: Any, n: int) -> bool:
    """Whether something is a tensor with a row for each of n images."""
    return keras.ops.is_tensor(x) and x.ndim > 0 and len(x) == n


def tiled(tree: Any, times: int, n: int) -> Any:
    """The tensors in inputs or outputs with n rows, their rows repeated as a whole: row j is row j % n."""
    if times == 1:
        return tree
    return mapped(lambda x: keras.ops.concatenate([x] * times) if has_rows(x, n) else x, tree)


def count(inputs: Inputs) -> int:
    """How many images a batch holds."""
    return len(image_in(inputs))


def private(inputs: Inputs) -> Any:
    """The inputs in memory of their own: a model may write into what it is given."""
    return mapped(lambda x: keras.ops.copy(x) if keras.ops.is_tensor(x) else x, inputs)
