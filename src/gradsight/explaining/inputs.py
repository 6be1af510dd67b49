"""What a call is given: a batch, or photos that a batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.contracts import Backend
from gradsight.errors import InvalidArgument, InvalidType, as_photos, received
from gradsight.foreign import Array, Inputs
from gradsight.imaging import Placement, Preprocess, name_of, read_image
from gradsight.models.model import PlacesPhotos
from gradsight.values import has

PhotoLike = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""One photo: a path, the bytes of a file, a PIL image, or an array (height, width, 3) of uint8, RGB."""

_FILES = str | Path | bytes | Image.Image
"""Photos that nothing else could be."""


class Prepared(NamedTuple):
    """A photo with what the model gets of it.

    Attributes:
        photo: as it is upright.
        array: the model's input, without a batch axis.
        placement: where that lies on the photo.
    """

    photo: Image.Image
    array: NDArray[np.float32]
    placement: Placement


class Batch(NamedTuple):
    """What goes through the model at once, and where it came from.

    Attributes:
        backend: of the model that it is for.
        inputs: as the model takes them.
        size: how many images they hold.
        total: how many images the user gave.
        first: which of those is the first here.
        photos: what the inputs were made from; empty where the user gave the inputs themselves.
        placements: where each of them lies on its photo.
        preprocess: how they were made, as plain values; None where the user gave them.
    """

    backend: Backend
    inputs: Inputs
    size: int
    total: int
    first: int = 0
    photos: tuple[Image.Image, ...] = ()
    placements: tuple[Placement, ...] = ()
    preprocess: Mapping[str, object] | None = None

    def alone(self, i: int) -> Batch:
        """Image ``i`` and nothing else."""
        # A slice and not a number: tuples stay tuples, as a batch needs them.
        one = slice(i, i + 1)
        inputs = self.backend.row(self.inputs, i)
        return self._replace(
            inputs=inputs, size=1, first=self.first + i, photos=self.photos[one], placements=self.placements[one]
        )


def is_photo(value: object) -> TypeGuard[PhotoLike]:
    """Whether a value is one photo, if photos can be given at all."""
    return isinstance(value, _FILES) or _is_picture(value)


def are_photos(inputs: Inputs) -> bool:
    """Whether all of what was given are photos: one of them, or a list of some."""
    if hasattr(type(inputs), "shape") and not isinstance(inputs, np.ndarray):
        return False  # an array of a framework, as most batches are
    items = inputs if isinstance(inputs, list | tuple) else [inputs]
    return bool(items) and all(map(is_photo, items))


def _is_picture(value: object) -> bool:
    """Whether an array can only be a picture: a batch would have one axis more, and models take floats."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3


def pieces_of(inputs: Inputs, most: int) -> list[Inputs]:
    """A list of photos cut into lists of at most ``most``; whatever else is given is one piece."""
    # A batch that the user made is one pass, whatever its size: nothing says that its rows may be parted.
    if not isinstance(inputs, list | tuple) or not are_photos(inputs) or len(inputs) <= most:
        return [inputs]
    return [inputs[first : first + most] for first in range(0, len(inputs), most)]


def of_one_size(sizes: set[tuple[int, ...]], inputs: Inputs) -> None:
    """Check that photos become inputs of one size, which one explanation of them needs.

    Raises:
        InvalidArgument: they become inputs of several sizes.
    """
    if len(sizes) > 1:
        raise InvalidArgument(
            f"`inputs` become pictures of {len(sizes)} sizes, since this model takes each in its own proportions "
            f"(fit='keep' or 'none'), and a batch has one. {received(inputs)} Explain one photo at a time, pass them "
            "to explainer.stream(photos), or replace the fit: fit='letterbox'."
        )


def batch_of(
    inputs: Inputs, backend: Backend, preprocess: PlacesPhotos | None, feed: Callable[[Array], Inputs] | None
) -> Batch:
    """Make a batch of what the user gave.

    Args:
        inputs: a batch as the model takes it, or a photo or a list of photos.
        backend: of the model.
        preprocess: turns a photo into the model's input; None where photos cannot be given.
        feed: from a batch of photos to the model's inputs; None where it takes that.

    Raises:
        InvalidArgument: there are no inputs, or the photos become no one batch.
        InvalidType: neither a batch nor photos, or a ``preprocess`` that cannot place a photo.
    """
    items = inputs if isinstance(inputs, list | tuple) else [inputs]
    # Without a preprocess, arrays are left to the model: an error about photos would puzzle who gave none.
    if are_photos(items) and (preprocess is not None or all(isinstance(x, _FILES) for x in items)):
        return _of_photos(items, inputs, backend, preprocess, feed)
    _check_no_photos(inputs, items, preprocess)
    prepared = backend.prepare(inputs)
    count = backend.count(prepared)
    if not count:
        raise InvalidArgument(f"`inputs` must hold at least one image. {received(inputs)}")
    return Batch(backend, prepared, count, count)


def _check_no_photos(inputs: Inputs, items: Sequence[object], preprocess: PlacesPhotos | None) -> None:
    """Check that inputs which are taken for a batch are not photos: a list of some, or one without a batch axis."""
    if hasattr(type(inputs), "shape") and (preprocess is None or len(inputs.shape) > 3):
        return  # an array with an axis for the batch, as far as anybody knows
    # What a folder's `glob` gives, which has no length yet.
    if isinstance(inputs, Iterator):
        raise InvalidType(
            f"`inputs` must be one batch, a photo, or a list of photos. {received(inputs)} Photos that come one after "
            "the other go to explainer.stream(photos), or into a list: list(photos)."
        )
    # A list is never a batch here: it might be one of photos that cannot be read, or several inputs.
    if isinstance(inputs, list) or any(isinstance(x, _FILES) for x in items):
        raise InvalidType(
            "`inputs` must be one batch, or photos only; for several inputs a tuple or dict of them, and for a "
            f"model that takes a list, that list in a tuple: ([a, b],). {received(inputs)}{as_photos(items)}"
        )
    # A picture without a batch axis is a usual slip, and the model's own error says nothing of photos.
    axes = len(inputs.shape) if has(inputs, "shape") else 0
    if preprocess is not None and axes < 4 and (way_out := as_photos([inputs])):
        raise InvalidType(f"`inputs` must be one batch, with an axis for it, or photos. {received(inputs)}{way_out}")


def _of_photos(
    items: Sequence[PhotoLike],
    inputs: Inputs,
    backend: Backend,
    preprocess: PlacesPhotos | None,
    feed: Callable[[Array], Inputs] | None,
) -> Batch:
    preprocess = for_backend(preprocess, backend, inputs)
    prepared = [prepared_of(x, preprocess) for x in items]
    # Before np.stack, whose error says nothing about the fit that is to blame.
    of_one_size({each.array.shape for each in prepared}, inputs)
    return batch_of_prepared(prepared, backend, preprocess, feed)


def prepared_of(photo: PhotoLike, preprocess: PlacesPhotos) -> Prepared:
    """Read a photo, and make the model's input of it."""
    picture = read_image(photo)
    return Prepared(picture, *preprocess.place(picture))


def batch_of_prepared(
    prepared: Sequence[Prepared], backend: Backend, preprocess: PlacesPhotos, feed: Callable[[Array], Inputs] | None
) -> Batch:
    """The batch of photos that became inputs of one size."""
    stacked = np.stack([each.array for each in prepared])
    inputs = backend.prepare(stacked if feed is None else feed(stacked))
    photos, placements = tuple(x.photo for x in prepared), tuple(x.placement for x in prepared)
    count = len(photos)
    return Batch(backend, inputs, count, count, 0, photos, placements, record_of(preprocess))


def for_backend(preprocess: PlacesPhotos | None, backend: Backend, inputs: Inputs) -> PlacesPhotos:
    """What makes photos the model's input, with the axes in the model's order."""
    if preprocess is None:
        raise InvalidArgument(
            "`inputs` are photos, but this explainer has no `preprocess` to make them the model's input. Pass "
            f"`preprocess=gs.Preprocess(...)` to Explainer, or the batch itself. {received(inputs)}"
        )
    if not hasattr(preprocess, "place"):
        raise InvalidType(
            "`preprocess` must be a gs.Preprocess, or have its method place(photo) -> (array, gs.Placement): maps "
            f"find their way back onto the photo by it. {received(preprocess)} A function goes to "
            "Explainer(preprocess=...)."
        )
    # An object of the user's own orders its axes itself.
    return preprocess.laid_out(backend.channels_last) if isinstance(preprocess, Preprocess) else preprocess


def record_of(preprocess: PlacesPhotos) -> Mapping[str, object]:
    """How photos are made the model's input, as plain values; of an object of the user's own, what it is called."""
    if isinstance(preprocess, Preprocess):
        return preprocess.record()
    return {"function": name_of(preprocess), "assumed": False}
