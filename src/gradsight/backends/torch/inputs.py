"""What a model is given: a batch made of what the user gave, the image in it, and whose each row is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from gradsight.backends.torch.memory import tensors_of
from gradsight.errors import InvalidArgument, InvalidType, ModelError, as_photos, received
from gradsight.foreign import Inputs
from gradsight.values import has


def prepared(inputs: Inputs, like: torch.Tensor) -> Any:
    """A batch on the device and in the precision of a tensor of the model; NumPy arrays become tensors.

    Raises:
        InvalidType: there is no array in ``inputs``.
        InvalidArgument: there is one without values.
    """
    keep_dtype = torch.is_autocast_enabled(like.device.type)

    def convert(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.dtype.kind in "biufc":
            x = torch.from_numpy(np.ascontiguousarray(x))
        if not isinstance(x, torch.Tensor):
            return x
        if x.is_meta:
            raise InvalidArgument(f"`inputs` must not be on the meta device, where they have no values. {received(x)}")
        dtype = like.dtype if x.is_floating_point() and not keep_dtype else x.dtype
        x = x.detach().to(like.device, dtype)
        return x.clone() if x.is_inference() else x

    with torch.inference_mode(False):
        found = pytree.tree_map(convert, dict(inputs) if has(inputs, "keys") else inputs)
    if next(tensors_of(found), None) is None:
        raise InvalidType(
            f"`inputs` must be a batch: an array (n, ...), or a tuple or dict of them. {received(inputs)}"
        )
    return found


def image_in(inputs: Inputs) -> torch.Tensor:
    """The image among the inputs, which maps are drawn on: of those with most axes the first.

    Raises:
        ModelError: no input has positions, or the one that has most does not hold floating-point numbers.
    """
    tensors = list(tensors_of(inputs))
    images = [x for x in tensors if x.ndim >= 3 and (x.is_floating_point() or x.dtype == torch.uint8)]
    found = max(images, key=lambda x: x.ndim, default=None)
    if found is None or not found.is_floating_point():
        shapes = ", ".join(f"{tuple(x.shape)}, dtype {x.dtype}" for x in tensors)
        ways = as_photos(tensors) or (
            " A single image needs a batch axis: pass inputs[None]. Whole numbers go in as inputs.float(), also where "
            "the model itself makes them floating."
        )
        raise ModelError(
            "`inputs` must hold an image, a signal or a volume: a floating-point array (n, channels, positions "
            f"...). Received: {shapes}.{ways}"
        )
    return found


def with_marks(change: Callable[[Any, bool], Any], inputs: Inputs, marks: Sequence[bool]) -> Any:
    """The inputs with every leaf changed, by what it is and by its mark."""
    leaves, spec = pytree.tree_flatten(inputs)
    return pytree.tree_unflatten([change(x, mark) for x, mark in zip(leaves, marks, strict=True)], spec)


def repeated(rows: torch.Tensor, times: int) -> torch.Tensor:
    """Rows repeated as a whole: row j is row j % n."""
    return rows if times == 1 else torch.cat([rows] * times)
