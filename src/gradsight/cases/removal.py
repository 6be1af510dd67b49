"""What is put in the place of positions that are taken away, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import like
from gradsight.cases.scoring import Level, Scoring
from gradsight.foreign import Array
from gradsight.rules import Choice

Remove: TypeAlias = Callable[[Array], Array]
"""From where something is taken away, (r, n, *positions), truth values of the framework, to r versions of the batch
without it, (r * n, c, *positions)."""

_SIDE, _DEVIATION = 224, 5
"""The blur of RISE's authors: a bell of 11 x 11 pixels with a deviation of 5, on 224 x 224."""


class _Colours(Protocol):
    """Makes pictures (n, c, *positions) in which everything is taken away."""

    def __call__(self, images: NDArray[np.floating], scoring: Scoring, /) -> NDArray[np.floating]: ...


def blur(images: NDArray[np.floating], _: Scoring) -> NDArray[np.floating]:
    """The picture out of focus: a bell with a deviation of 5 pixels in 224, cut off there (RISE, arXiv:1806.07421)."""
    from scipy import ndimage

    deviation = max(1.0, _DEVIATION * min(images.shape[2:]) / _SIDE)
    axes = tuple(range(2, images.ndim))
    return np.asarray(ndimage.gaussian_filter(images, deviation, mode="nearest", radius=round(deviation), axes=axes))


def mean(images: NDArray[np.floating], _: Scoring) -> NDArray[np.floating]:
    """The mean of each channel of the image."""
    return np.asarray(images.mean(axis=tuple(range(2, images.ndim)), keepdims=True))


def black(images: NDArray[np.floating], scoring: Scoring) -> NDArray[np.floating]:
    """Black, as the model gets a black photo; 0 where no preprocessing is known."""
    return _level(images, scoring.black)


def white(images: NDArray[np.floating], scoring: Scoring) -> NDArray[np.floating]:
    """White, as the model gets a white photo; 1 where no preprocessing is known."""
    return _level(images, scoring.white)


def noise(images: NDArray[np.floating], scoring: Scoring) -> NDArray[np.floating]:
    """Normal noise with the mean and the deviation of each channel of the image; the same for every image, by the seed.

    Positions are drawn one by one: noise that is as fine as the picture.
    """
    axes = tuple(range(2, images.ndim))
    drawn = scoring.random(0).standard_normal(images.shape[1:])
    return np.asarray(images.mean(axis=axes, keepdims=True) + images.std(axis=axes, keepdims=True) * drawn)


def _level(images: NDArray[np.floating], level: Level) -> NDArray[np.floating]:
    return np.broadcast_to(np.asarray(level, images.dtype), images.shape)


_COLOURS: dict[str, _Colours] = {f.__name__: f for f in (blur, mean, black, white, noise)}

BASELINES = (*_COLOURS, "inpaint")
"""Their names. ``"inpaint"`` gives each position what is nearest to it of what is left; the mean where nothing is."""

BASELINE = Choice(BASELINES, "baseline")
"""The rule of a metric's option ``baseline``."""


def removing(scoring: Scoring, baseline: str) -> Remove:
    """What takes positions away from the images of a batch; made once for all that share the scoring."""
    if baseline == "inpaint":
        return lambda removed: _inpainted(scoring, removed)
    ops, images = scoring.ops, scoring.images
    empty = emptied(scoring, baseline)

    def remove(removed: Array) -> Array:
        shown = ops.where(removed[:, :, None], empty, images)
        return ops.reshape(shown, (-1, *images.shape[1:]))

    return remove


def emptied(scoring: Scoring, baseline: str) -> Array:
    """The images with everything taken away, (n, c, *positions)."""

    def make() -> Array:
        images = images_of(scoring)
        # Of what is nearest there is nothing, where nothing is left.
        colours = _COLOURS["mean" if baseline == "inpaint" else baseline](images, scoring)
        return like(np.broadcast_to(colours, images.shape).astype(images.dtype), scoring.images, scoring.ops)

    return scoring.kept(("emptied", baseline), make)


def images_of(scoring: Scoring) -> NDArray[np.floating]:
    """The images as NumPy, copied once."""
    return scoring.kept("images", lambda: scoring.numpy(scoring.images))


def _inpainted(scoring: Scoring, removed: Array) -> Array:
    images, masks = images_of(scoring), scoring.numpy(removed) > 0
    rows = np.stack([[_nearest(*pair) for pair in zip(images, version, strict=True)] for version in masks])
    return like(rows.reshape(-1, *images.shape[1:]), scoring.images, scoring.ops)


def _nearest(image: NDArray[np.floating], removed: NDArray[np.bool_]) -> NDArray[np.floating]:
    """An image (c, *positions) in which each position that is removed has the colour of the nearest that is not."""
    from scipy import ndimage

    if removed.all():
        return np.broadcast_to(image.mean(axis=tuple(range(1, image.ndim)), keepdims=True), image.shape)
    nearest = ndimage.distance_transform_edt(removed, return_distances=False, return_indices=True)
    return image[(slice(None), *nearest)]


class Places(Protocol):
    """A preprocessing: what makes the model's input of a photo."""

    def place(self, image: NDArray[np.uint8], /) -> tuple[NDArray[np.floating], object]:
        """The input, and where it lies on the photo."""


def ends(preprocess: Places | None, size: tuple[int, ...], channel_axis: int) -> tuple[Level, Level]:
    """Black and white in the model's own units, (c, 1, 1) each: what a preprocessing makes of such photos.

    Args:
        preprocess: of the model; None where it is not known, and then they are 0 and 1.
        size: (height, width) of the model's input.
        channel_axis: which axis of one input holds the channels.
    """
    if preprocess is None or len(size) != 2:
        return 0.0, 1.0

    def colour(value: int) -> NDArray[np.floating]:
        # A photo as large as the input, so that nothing is padded.
        made = np.asarray(preprocess.place(np.full((*size, 3), value, np.uint8))[0])
        # Of all positions the middle one: a preprocessing that pads all the same does so at the edges.
        return np.median(np.moveaxis(made, channel_axis, 0), axis=(1, 2), keepdims=True)

    return colour(0), colour(255)
