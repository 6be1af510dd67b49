"""Where channels are active and where concepts are: thresholds, and pixels counted photo by photo."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import InvalidArgument, received
from gradsight.imaging import Placement, resize
from gradsight.neurons.activations import Activations
from gradsight.neurons.concepts import Concepts, LabelledPhoto, on_photo

_FINEST = 112
"""Masks are compared at no more rows and columns than this, as those of the paper's data set, Broden."""

_CEILING = np.float32(1e-5)
"""If many positions share a channel's largest value, its threshold is set below that value by this share of it.
Interpolation between such positions rounds, and its result must still be over the threshold."""

_AT_ONCE = 256
"""Channels that are enlarged at once."""


def thresholds_of(
    batches: Iterable[tuple[list[int], Activations]], photos: int, quantile: float
) -> tuple[NDArray[np.float32], str]:
    """The threshold of each channel, (channels,), that a share ``quantile`` of its values is over; the layer's name.

    Only the top values are held, of which there are ``quantile`` of all.
    """
    held: list[NDArray[np.float32]] = []
    lowest: NDArray[np.float32] | float = np.inf
    most, layer = 0, ""
    for _, activations in batches:
        n, channels, rows, columns = activations.values.shape
        layer, count = activations.layer, photos * rows * columns
        most = int(quantile * count + 1e-9)
        if most < 1:
            raise InvalidArgument(
                f"`quantile` must leave at least one position of the layer's {rows} x {columns} in {photos} photo(s), "
                f"{count} in all. {received(quantile)} Give more photos, or quantile={1 / count:.2g} or more."
            )
        held.append(np.moveaxis(activations.values, 1, 0).reshape(channels, n * rows * columns))
        lowest = np.minimum(lowest, activations.values.min(axis=(0, 2, 3)))
        # In turns, not after each batch: a partition of all that is held costs more than the memory it frees.
        if sum(x.shape[1] for x in held) > 2 * (most + 1) + rows * columns:
            held = [_top(np.concatenate(held, axis=1), most + 1)]
    top = _top(np.concatenate(held, axis=1), most + 1)
    thresholds = top.min(axis=1)
    # Many positions share the largest value of a clipped activation; nothing would be over it.
    at_ceiling = (thresholds == top.max(axis=1)) & (thresholds > lowest)
    return np.where(at_ceiling, thresholds - _CEILING * np.abs(thresholds), thresholds), layer


def _top(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return np.partition(values, -count, axis=1)[:, -count:] if values.shape[1] > count else values


class Overlaps:
    """Pixels of masks, added up photo by photo."""

    def __init__(self, concepts: Concepts, channels: int) -> None:
        self._categories = list(dict.fromkeys(concepts.categories))
        self._of = np.array([self._categories.index(category) for category in concepts.categories])
        self._both = np.zeros((channels, len(concepts.names)))
        self._active = np.zeros((channels, len(self._categories)))
        self._labelled = np.zeros(len(concepts.names))
        self._seen = np.zeros(len(self._categories))
        self.photos = np.zeros(len(concepts.names), int)

    def add(
        self, photo: LabelledPhoto, values: NDArray[np.float32], placement: Placement, thresholds: NDArray[np.float32]
    ) -> None:
        """Count one photo with the layer's output for it, (c, h, w)."""
        rows, columns = (min(_FINEST, side) for side in placement.input_size)
        inside = on_photo(placement, (rows, columns)).ravel()
        regions: dict[int, NDArray[np.bool_]] = {}
        for label in photo.labels:
            region = label.region(placement, (rows, columns)).ravel()
            # A photo may have several masks of one concept, such as two dogs.
            regions[label.concept] = regions.get(label.concept, region) | region
        which = np.array(list(regions))
        masks = np.stack(list(regions.values())).astype(np.float32)
        categories = np.unique(self._of[which])
        self.photos[which] += 1
        self._labelled[which] += masks.sum(axis=1)
        self._seen[categories] += inside.sum()
        # Interpolation stays below the largest value: the other channels are over their thresholds nowhere.
        live = np.flatnonzero(values.max(axis=(1, 2)) > thresholds)
        for first in range(0, len(live), _AT_ONCE):
            some = live[first : first + _AT_ONCE]
            over = resize(values[some], (rows, columns)) > thresholds[some, None, None]
            # As floats: a product of matrices counts all pairs of channels and concepts at once.
            active = (over.reshape(len(some), -1) & inside).astype(np.float32)
            self._both[np.ix_(some, which)] += active @ masks.T
            self._active[np.ix_(some, categories)] += active.sum(axis=1)[:, None]

    def iou(self) -> NDArray[np.float32]:
        """Intersection over union, (channels, concepts); 0 where both are empty."""
        union = self._active[:, self._of] + self._labelled - self._both
        shares = np.divide(self._both, union, out=np.zeros_like(union), where=union > 0)
        return np.asarray(shares, np.float32)

    def areas(self) -> NDArray[np.float32]:
        """The share of the photos of its category that each concept covers, (concepts,)."""
        return np.asarray(self._labelled / self._seen[self._of], np.float32)
