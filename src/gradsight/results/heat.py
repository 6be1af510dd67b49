"""Maps scaled for the eye: heatmaps, at the model's input or at the photo."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.checks import optional, taken
from gradsight.limits import PIXELS
from gradsight.results.maps import Maps
from gradsight.rules import Choice, Either, Flag, Number, Rule, Sides

SCALE: Rule[str | float] = Either[str | float]((Choice(("own", "shared"), "scale"), Number(above=0)))
"""What maps are divided by."""


class Heat(Maps):
    """Maps with their heat; see `Explanation`."""

    @property
    def scale(self) -> NDArray[np.float32]:
        """(n, k): the raw value from which on a map is drawn as hot as can be; 0 where there is nothing to draw.

        It is the map's maximum, or its largest magnitude where its target is signed. A map as fine as the model's input
        is noisy, and divided by its maximum, which one pixel holds, it could not be seen: there it is the value that
        99 % of those over 0 stay below, and the strongest 1 % are drawn alike.
        """
        return self._scale(self._signed(None))

    def _scale(self, signed: NDArray[np.bool_]) -> NDArray[np.float32]:
        return imaging.display_max(self.maps, signed=signed, fine=self._fine)

    def _signed(self, signed: bool | None) -> NDArray[np.bool_]:
        """(n, k): which maps are drawn with both signs."""
        signed = optional("signed", signed, Flag())
        if signed is not None:
            return np.full(self.maps.shape[:2], signed)
        return np.array([[target.signed for target in row] for row in self.targets]).reshape(self.maps.shape[:2])

    def heatmaps(
        self, *, size: int | Sequence[int] | None = None, scale: float | str = "own", signed: bool | None = None
    ) -> NDArray[np.float32]:
        """Maps in [0, 1] for the eye: divided by a scale, cut at 1, and resized; negative values are cut to 0.

        Args:
            size: positions of the result, one length for each axis of the maps, or a number for all of them: 8 is a
                square of 8 x 8. The input's size by default.
            scale: ``"own"`` divides each map by its own `scale`, ``"shared"`` all by the largest one, so that a weak
                map stays weak beside a strong one; or a number, for maps of several explanations.
            signed: keep negative values, in [-1, 1]; by default where the target says so, as ``gs.Contrast`` does.
                Both signs are divided by one number, so that 0 stays 0 and the stronger side is seen to be stronger.

        Returns:
            (n, k, *size) float32.

        Raises:
            InvalidArgument: a scale or a size that breaks these rules.
            UnknownName: a scale of another name.

        >>> from gradsight.results.example import example
        >>> example().heatmaps(size=2)[0, 0].tolist()
        [[0.0, 0.25], [1.0, 0.0]]
        """
        positions = tuple(self.maps.shape[2:])
        way_out = f"The positions of the maps are {positions}."
        found = optional("size", size, Sides(len(positions)), way_out) or self._matching_input()
        count = math.prod((*self.maps.shape[:2], *found))
        # Before anything is made: a size with a zero too many would fill the memory.
        PIXELS.check(count, f"`size` is too large: {count:,} pixels in {math.prod(self.maps.shape[:2])} map(s)")
        return imaging.resize(self._heat(scale, self._signed(signed)), found).astype(np.float32)

    def _heat(self, scale: float | str, signed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(n, k, *s) in [0, 1], or [-1, 1], at the layer's resolution."""
        return _divided(self.maps, self._divisor(scale, signed), signed, self._fine)

    def _one_heat(self, image: int, target: int, scale: float | str, signed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(*s) of one map; the others are looked at only where their scale is shared."""
        one = slice(image, image + 1), slice(target, target + 1)
        # A slice and not a number: what divides needs the axes of images and targets.
        heat: NDArray[np.float32] = _divided(self.maps[one], self._divisor(scale, signed), signed[one], self._fine)[
            0, 0
        ]
        return heat

    def _divisor(self, scale: float | str, signed: NDArray[np.bool_]) -> float | None:
        """The number that all maps are divided by; None where each has its own."""
        scale = taken("scale", scale, SCALE)
        if scale == "own":
            return None
        return float(self._scale(signed).max()) if scale == "shared" else float(scale)

    def on_photo(
        self, image: int = 0, target: int = 0, *, scale: float | str = "own", signed: bool | None = None
    ) -> NDArray[np.float32]:
        """One heatmap in the pixels of the original photo, (height, width); 0 where the model did not see it.

        Raises:
            InvalidArgument: there are no photos, since the explanation was made from arrays, or the map is none of a
                picture; there is no such image or target.

        >>> from gradsight.results.example import example
        >>> example().on_photo().shape
        (40, 60)
        """
        image, target = self._at(image, target)
        self._need_photo()
        heat = self._one_heat(image, target, scale, self._signed(signed))
        return np.asarray(self.placements[image].to_image(heat), np.float32)


def _divided(maps: NDArray[np.float32], by: float | None, signed: NDArray[np.bool_], fine: bool) -> NDArray[np.float32]:
    """(n, k, *s) in [0, 1], or [-1, 1] where signed."""
    divisors = imaging.display_max(maps, signed=signed, fine=fine) if by is None else np.asarray(by)
    divisors = np.broadcast_to(np.where(divisors > 0, divisors, 1), maps.shape[:2])  # an empty map stays empty
    beside = (...,) + (None,) * (maps.ndim - 2)
    with np.errstate(over="ignore"):  # by a scale next to 0; what it gives is cut at 1
        heat: NDArray[np.float32] = np.clip(
            imaging.nan_to_zero(maps) / divisors[beside], np.where(signed, -1, 0)[beside], 1
        )
    return heat
