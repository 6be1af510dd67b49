"""What a model is given: a batch made of what the user gave, and the image in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import keras
import numpy as np

from gradsight.backends.batches import Batches
from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.backends.keras.trees import Form, filled, flat, mapped
from gradsight.errors import InvalidType, ModelError, received
from gradsight.foreign import Array, Inputs
from gradsight.layouts import Layout, forced_layout
from gradsight.values import array_in, has


class KerasBatches(Batches):
    """Batches of tensors, nested as their owner put them."""

    def __init__(self, data_format: str) -> None:
        """Of images that are ``"channels_last"`` or ``"channels_first"``."""
        super().__init__()
        self._data_format = data_format

    def flat(self, inputs: Inputs) -> list[Array]:
        """All that the inputs are nested of."""
        return flat(inputs)

    def filled(self, inputs: Inputs, values: Iterable[object]) -> Inputs:
        """Inputs nested like these, of other values."""
        return filled(inputs, values)

    def form(self, inputs: Inputs) -> Hashable:
        """How inputs are nested, and in which order."""
        return Form(inputs)

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor."""
        return bool(keras.ops.is_tensor(value))

    def image(self, inputs: Inputs) -> Array:
        """The image among the inputs; see `image_in`."""
        return image_in(inputs)

    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out."""
        return forced_layout(tuple(image_in(inputs).shape), self._data_format, None)

    def cast(self, array: Array, like: Array) -> Array:
        """A tensor in the precision of another."""
        return keras.ops.cast(array, like.dtype)

    def repeated(self, rows: Array, times: int) -> Array:
        """Rows repeated as a whole: row j is row j % n."""
        return rows if times == 1 else keras.ops.concatenate([rows] * times)


def prepared(inputs: Inputs, dtype: str) -> Inputs:
    """A batch of tensors in the model's precision; whole numbers with positions become floating.

    Raises:
        InvalidType: there is no array in ``inputs``.
    """

    def convert(x: Array) -> object:
        if not keras.ops.is_tensor(x):
            array = array_in(x) if has(x, "__array__") else None
            if array is None or array.dtype.kind not in "biufc":
                return x
            x = array
        floating = x.ndim >= 3 or is_floating(x)  # pictures come in bytes, and tokens of a text are (n, words)
        tensor: Array = keras.ops.convert_to_tensor(x, dtype=dtype if floating else None)
        return tensor if isinstance(x, np.ndarray) else keras.ops.stop_gradient(tensor)

    # Of the user's own kinds of dict and list, which may do anything when they are copied, plain ones are made.
    plain = list(inputs) if isinstance(inputs, tuple) else inputs
    batch = mapped(convert, dict(inputs) if has(inputs, "keys") else plain)
    if not tensors_in(batch):
        raise InvalidType(
            f"`inputs` must be a batch: an array (n, ...), or a tuple or dict of them. {received(inputs)}"
        )
    return batch


def image_in(inputs: Inputs) -> Array:
    """The image among the inputs, which maps are drawn on: of those with most axes the user's first.

    Raises:
        ModelError: there is none.
    """
    tensors = tensors_in(inputs)
    images = [x for x in tensors if is_floating(x) and x.ndim >= 3]
    if not images:
        raise ModelError(
            "`inputs` must hold an image, a signal or a volume: an array (n, positions ..., channels), or as the "
            f"model has its axes. Received: {', '.join(str(tuple(x.shape)) for x in tensors)}. A single image needs a "
            "batch axis: pass inputs[None]."
        )
    return max(images, key=lambda x: x.ndim)


def private(inputs: Inputs) -> Inputs:
    """The inputs in memory of their own: a model may write into what it is given."""
    return mapped(lambda x: keras.ops.copy(x) if keras.ops.is_tensor(x) else x, inputs)
