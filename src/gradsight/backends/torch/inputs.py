"""What a model is given: a batch made of what the user gave, and the image in it."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable
from functools import lru_cache

import numpy as np
import torch
from torch.utils import _pytree as pytree

from gradsight.backends.batches import Batches
from gradsight.backends.torch.memory import tensors_of
from gradsight.errors import InvalidArgument, InvalidType, ModelError, as_photos, received
from gradsight.foreign import Array, Inputs
from gradsight.layouts import Layout, image_layout
from gradsight.values import has

_AS_IT_IS = contextlib.nullcontext()

_GROWTH = 8
"""How much larger than the image the largest output of a layer is, about."""

_CACHED = 20 * 2**20
"""Bytes of one layer's output that a processor writes and reads again quickly."""


class TorchBatches(Batches):
    """Batches of tensors, nested as PyTorch nests them."""

    def flat(self, inputs: Inputs) -> list[Array]:
        """All that the inputs are nested of."""
        return [inputs] if isinstance(inputs, torch.Tensor) else pytree.tree_leaves(inputs)

    def filled(self, inputs: Inputs, values: Iterable[object]) -> Inputs:
        """Inputs nested like these, of other values."""
        return pytree.tree_unflatten(values, pytree.tree_structure(inputs))

    def form(self, inputs: Inputs) -> Hashable:
        """How inputs are nested, and in which order."""
        return "" if isinstance(inputs, torch.Tensor) else pytree.tree_structure(inputs)

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor."""
        return isinstance(value, torch.Tensor)

    def rows_at_once(self, image: torch.Tensor) -> int:
        """How many rows pass a model quickest: on a CPU few, a row for each thread at least; else all.

        What the first layers of a network give is about eight times as large as the image. Where it no longer fits
        into a processor's cache, nor into memory that is taken from the system once for all, each layer waits for
        memory: of 32 photos of 224 x 224 pixels at once each takes two to three times as long as of four.
        """
        if image.device.type != "cpu" or not len(image):
            return super().rows_at_once(image)
        size = _GROWTH * image[0].numel() * image.element_size()
        return max(torch.get_num_threads(), _CACHED // size, 1)

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""
        return image_in(inputs).shape[0]

    def image(self, inputs: Inputs) -> torch.Tensor:
        """The image among the inputs; see `image_in`."""
        return image_in(inputs)

    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out, see `layouts.image_layout`."""
        return _layout_of(image_in(inputs).shape)

    def cast(self, array: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """A tensor in the precision of another."""
        return array.to(like.dtype)

    def repeated(self, rows: torch.Tensor, times: int) -> torch.Tensor:
        """Rows repeated as a whole: row j is row j % n."""
        return rows if times == 1 else torch.cat([rows] * times)


_layout_of = lru_cache(maxsize=64)(image_layout)


def prepared(inputs: Inputs, like: torch.Tensor) -> Inputs:
    """A batch on the device and in the precision of a tensor of the model; NumPy arrays become tensors.

    Raises:
        InvalidType: there is no array in ``inputs``.
        InvalidArgument: there is one without values.
    """
    # Under autocast the user has said in which precision each operator runs, and it begins from what they give.
    keep_dtype = torch.is_autocast_enabled(like.device.type)

    def convert(x: object) -> object:
        if isinstance(x, np.ndarray) and x.dtype.kind in "biufc":
            x = torch.from_numpy(np.ascontiguousarray(x))
        if not isinstance(x, torch.Tensor):
            return x
        if x.is_meta:
            raise InvalidArgument(f"`inputs` must not be on the meta device, where they have no values. {received(x)}")
        dtype = like.dtype if x.is_floating_point() and not keep_dtype else x.dtype
        x = x.detach().to(like.device, dtype)
        return x.clone() if x.is_inference() else x  # a tensor made in inference mode may be in no graph

    with torch.inference_mode(False) if torch.is_inference_mode_enabled() else _AS_IT_IS:
        if isinstance(inputs, torch.Tensor):  # most batches are one
            return convert(inputs)
        batch = pytree.tree_map(convert, dict(inputs) if has(inputs, "keys") else inputs)
    if next(tensors_of(batch), None) is None:
        raise InvalidType(
            f"`inputs` must be a batch: an array (n, ...), or a tuple or dict of them. {received(inputs)}"
        )
    return batch


def image_in(inputs: Inputs) -> torch.Tensor:
    """The image among the inputs, which maps are drawn on: of those with most axes the first.

    Raises:
        ModelError: no input has positions, or the one that has most does not hold floating-point numbers.
    """
    if isinstance(inputs, torch.Tensor) and inputs.ndim >= 3 and inputs.is_floating_point():  # most batches are one
        return inputs
    tensors = list(tensors_of(inputs))
    # Of whole numbers only those of a picture's bytes: long tensors (n, words, 2) beside it are tokens or boxes.
    images = [x for x in tensors if x.ndim >= 3 and (x.is_floating_point() or x.dtype == torch.uint8)]
    image = max(images, key=lambda x: x.ndim, default=None)
    if image is None or not image.is_floating_point():
        shapes = ", ".join(f"{tuple(x.shape)}, dtype {x.dtype}" for x in tensors)
        advice = as_photos(tensors) or (
            " A single image needs a batch axis: pass inputs[None]. Whole numbers go in as inputs.float(), also where "
            "the model itself makes them floating."
        )
        raise ModelError(
            "`inputs` must hold an image, a signal or a volume: a floating-point array (n, channels, positions "
            f"...). Received: {shapes}.{advice}"
        )
    return image
