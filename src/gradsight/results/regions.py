"""Where maps are hot: the peak and the area around it, boxes, masks; in positions of the photo."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.checks import taken
from gradsight.results.heat import Heat
from gradsight.rules import Flag, Number

_PIXELS = 1 << 19
"""Regions of a larger photo are found in a copy of about so many pixels, and then mapped to the photo.

A map of a layer has some hundred positions: a copy of 724 x 724 says where its areas end to less than a hundredth of
one, at a price that does not grow with the photo.
"""

_THRESHOLD = Number(above=0, most=1)


class Regions(Heat):
    """Heat with its regions; see `Explanation`."""

    def region(self, image: int = 0, target: int = 0, *, against: bool = False) -> imaging.Region | None:
        """The hottest point and the area around it, in pixels of the photo, or of the input where there is no photo.

        Of a signal they are a sample and an interval of samples, of a volume a voxel and a box, in positions of the
        model's input. A map as fine as that is first averaged over neighbours (see `imaging.smoothed`): its hottest
        pixel may be a stray one, and the point where the map is densest is meant. In photos over half a megapixel, and
        larger than the model's input, they are found in a smaller copy, and are as exact as a pixel of that.

        Args:
            image: which image.
            target: which of its targets.
            against: where the map is most negative instead.

        Returns:
            None where nothing is over 0 (if ``against``: under 0).

        Raises:
            InvalidArgument: the map has other axes than the model's input.

        >>> from gradsight.results.example import example
        >>> example().region()
        Region(peak=(34, 7), box=(20, 0, 40, 30), area=0.22833333333333333)
        """
        image, target = self._at(image, target)
        against = taken("against", against, Flag())
        values = self._dense(image, target)
        # After the smoothing, whose mean knows both signs: what is clipped first would lose those below 0.
        return self._hottest(image, -values if against else values)

    def boxes(self, image: int = 0, target: int = 0, *, threshold: float = 0.5) -> tuple[tuple[int, ...], ...]:
        """Boxes around the connected areas where the map reaches a share of its maximum, the largest area first.

        Args:
            image: which image.
            target: which of its targets.
            threshold: the share of the map's maximum, in (0, 1].

        Returns:
            For each area (top, left, bottom, right) in pixels of the photo, bottom and right exclusive; of a signal
            (start, stop) and of a volume (first slice, top, left, last slice + 1, bottom, right), in positions of the
            model's input. Empty where nothing is over 0. Areas that touch at a corner are one.

        Raises:
            InvalidArgument: a threshold outside (0, 1], or the map has other axes than the model's input.

        >>> from gradsight.results.example import example
        >>> example().boxes(threshold=0.9)
        ((28, 0, 40, 18),)
        """
        image, target = self._at(image, target)
        threshold = taken("threshold", threshold, _THRESHOLD, "Pass 0.5.")
        heat, placed, small = self._laid_out(image, self._dense(image, target))
        # Found as all hot areas are, so that the box of `region` is one of these.
        found = (region.scaled(small, placed) for region in imaging.areas(heat, threshold))
        return tuple(region.box for region in found)

    def mask(self, image: int = 0, target: int = 0, *, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Where the map reaches a share of its maximum, for each pixel of the photo.

        Args:
            image: which image.
            target: which of its targets.
            threshold: the share of the map's maximum, in (0, 1].

        Returns:
            (height, width) of the photo, or the positions of the model's input where there is no photo. False
            everywhere if nothing is over 0, and where the model did not see the photo.

        Raises:
            InvalidArgument: a threshold outside (0, 1], or the map has other axes than the model's input.

        >>> from gradsight.results.example import example
        >>> mask = example().mask()
        >>> mask.shape, int(mask.sum())
        ((40, 60), 548)
        """
        image, target = self._at(image, target)
        threshold = taken("threshold", threshold, _THRESHOLD, "Pass 0.5.")
        heat = np.clip(self._dense(image, target), 0, None)
        if not self._lies_on_photo:
            return imaging.hot(imaging.resize(heat, self._matching_input()), threshold)
        placed = self.placements[image]
        # In the photo's own pixels, since it is laid on the photo; but no floats of its size are held.
        return imaging.hot_rows(placed.stretched(heat), placed.image_size, threshold)

    def _dense(self, image: int, target: int) -> NDArray[np.float32]:
        """The map in which the peak is looked for: averaged over neighbours where it is as fine as the input."""
        dense: NDArray[np.float32] = self._all_dense(image, slice(target, target + 1))[0]
        return dense

    def _all_dense(self, image: int, targets: slice = slice(None)) -> NDArray[np.float32]:
        """As `_dense`, of several targets, (k, *s)."""
        values = imaging.nan_to_zero(self.maps[image, targets])
        return np.stack([imaging.smoothed(one) for one in values]) if self._fine else values

    def _regions(self, image: int) -> list[imaging.Region | None]:
        """As `region`, of each target of an image, found together."""
        return self._all_hottest(image, self._all_dense(image))

    def _hottest(self, image: int, values: NDArray[np.float32]) -> imaging.Region | None:
        return self._all_hottest(image, values[None])[0]

    def _all_hottest(self, image: int, values: NDArray[np.float32]) -> list[imaging.Region | None]:
        """The regions of maps of an image, (m, *s)."""
        heat = np.clip(values, 0, None)
        if not self._lies_on_photo:
            size = self._matching_input()
            return [imaging.region(imaging.resize(one, size)) for one in heat]
        placed, small = self.placements[image], self._smaller(image)
        found = imaging.regions(heat, small)
        if small is placed:
            return found
        return [None if region is None else region.scaled(small.image_size, placed.image_size) for region in found]

    def _laid_out(
        self, image: int, values: NDArray[np.float32]
    ) -> tuple[imaging.Floats, tuple[int, ...], tuple[int, ...]]:
        """A map without its values below 0, laid on a copy of the photo; the size of the photo, and of the copy."""
        heat = np.clip(values, 0, None)
        if not self._lies_on_photo:
            size = self._matching_input()
            return imaging.resize(heat, size), size, size
        small = self._smaller(image)
        return small.to_image(heat), self.placements[image].image_size, small.image_size

    def _smaller(self, image: int) -> imaging.Placement:
        """Where the model's input lies on the copy of a photo in which regions are found."""
        # A fine map must not lose positions: the copy has at least as many pixels as the model's input.
        return self.placements[image].within(max(_PIXELS, math.prod(self.input_size)))


def regions_of(explanations: Sequence[Regions], image: int) -> list[list[imaging.Region | None]]:
    """The regions of one image by several methods: of each explanation those of its targets.

    Args:
        explanations: of one call, so that their images lie on their photos alike.
        image: which image.
    """
    first = explanations[0]
    # Maps of one shape are looked at together, which takes little more than one alone.
    if not first._lies_on_photo or any(one.maps.shape != first.maps.shape for one in explanations):
        return [one._regions(image) for one in explanations]
    dense = np.concatenate([one._all_dense(image) for one in explanations])
    found, count = first._all_hottest(image, dense), first.maps.shape[1]
    return [found[i : i + count] for i in range(0, len(found), count)]
