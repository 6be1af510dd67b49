"""What a call is given: a batch, or photos that a batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gradsight.contracts import Backend
from gradsight.errors import InvalidArgument, InvalidType, as_photos, received
from gradsight.foreign import Inputs
from gradsight.imaging import Placement, name_of, read_image
from gradsight.values import has

_Photo = str | Path | bytes | Image.Image


class Batch(NamedTuple):
    """One call's batch, the photos that it was made from, if any, and the backend that it goes through.

    Attributes:
        backend: it.
        batch: as the model takes it.
        size: how many images it holds.
        total: how many images the user gave.
        first: which of those is the first here.
        photos: what the batch was made from; empty where it was given.
        placements: where each of them lies on its photo.
        preprocess: how they were made the batch, as plain values; None where it was given.
    """

    backend: Backend
    batch: Any
    size: int
    total: int
    first: int = 0
    photos: tuple[Image.Image, ...] = ()
    placements: tuple[Placement, ...] = ()
    preprocess: Mapping[str, Any] | None = None

    def alone(self, i: int) -> Batch:
        """Image ``i`` and nothing else."""
        one = slice(i, i + 1)
        batch = self.backend.row(self.batch, i)
        return self._replace(
            batch=batch, size=1, first=self.first + i, photos=self.photos[one], placements=self.placements[one]
        )


def pieces_of(inputs: Inputs, most: int) -> list[Any]:
    """A list of photos cut into lists of at most ``most``; whatever else is given is one piece."""
    if not _are_photos(inputs) or len(inputs) <= most:
        return [inputs]
    return [inputs[first : first + most] for first in range(0, len(inputs), most)]


def _are_photos(inputs: Inputs) -> bool:
    return isinstance(inputs, list | tuple) and bool(inputs) and all(isinstance(x, _Photo) for x in inputs)


def of_one_size(sizes: set[tuple[int, ...]], inputs: Inputs) -> None:
    """See that photos become pictures of one size, as one explanation of them needs.

    Raises:
        InvalidArgument: they do not.
    """
    if len(sizes) > 1:
        raise InvalidArgument(
            f"`inputs` become pictures of {len(sizes)} sizes, since this model takes each in its own proportions "
            f"(fit='keep' or 'none'), and a batch has one. {received(inputs)} Explain one photo at a time, or replace "
            "the fit: fit='letterbox'."
        )


def batch_of(inputs: Inputs, backend: Backend, preprocess: Any, feed: Callable[[Any], Any] | None) -> Batch:
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
    if _are_photos(items):
        return _of_photos(items, inputs, backend, preprocess, feed)
    if isinstance(inputs, list) or any(isinstance(x, _Photo) for x in items):
        raise InvalidType(
            "`inputs` must be one batch, or photos only; for several inputs a tuple or dict of them, and for a "
            f"model that takes a list, that list in a tuple: ([a, b],). {received(inputs)}{as_photos(items)}"
        )
    if (
        preprocess is not None
        and len(inputs.shape if has(inputs, "shape") else ()) < 4
        and (ways := as_photos([inputs]))
    ):
        # Nobody can tell the order of its colours.
        raise InvalidType(f"`inputs` must be one batch, with an axis for it, or photos. {received(inputs)}{ways}")
    batch = backend.prepare(inputs)
    count = backend.count(batch)
    if not count:
        raise InvalidArgument(f"`inputs` must hold at least one image. {received(inputs)}")
    return Batch(backend, batch, count, count)


def _of_photos(items: Any, inputs: Inputs, backend: Backend, preprocess: Any, feed: Any) -> Batch:
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
    if hasattr(preprocess, "laid_out"):
        preprocess = preprocess.laid_out(backend.channels_last)
    photos = tuple(read_image(x) for x in items)
    placed = [preprocess.place(photo) for photo in photos]
    of_one_size({array.shape for array, _ in placed}, inputs)
    batch = np.stack([array for array, _ in placed])
    batch = backend.prepare(batch if feed is None else feed(batch))
    placements = tuple(placement for _, placement in placed)
    count = len(photos)
    return Batch(backend, batch, count, count, 0, photos, placements, _record(preprocess))


def _record(preprocess: Any) -> Mapping[str, Any]:
    """How photos are made the model's input, as plain values; of an object of the user's own, what it is called."""
    if hasattr(preprocess, "record"):
        record: Mapping[str, Any] = preprocess.record()
        return record
    return {"function": name_of(preprocess), "assumed": False}
