"""One batch, its targets and the maps of one method: what a metric measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.cached import cached_property
from gradsight.cases.scoring import Scoring
from gradsight.contracts import Floats, Probe
from gradsight.errors import InvalidArgument

if TYPE_CHECKING:
    from gradsight.metric_registry import Need

Value = TypeVar("Value")

Explain: TypeAlias = Callable[[Probe], Floats]
"""Runs a method on a probe of its layer: maps (m, k, *s) as NumPy, raw and signed."""

Boxes: TypeAlias = Sequence[Sequence[NDArray[np.float64]]]
"""For each of n images, and of its k targets, boxes (b, 4): (top, left, bottom, right) in pixels of the model's input,
measured from its upper left corner."""


@dataclass(frozen=True, eq=False)
class Case:
    """One batch of n images, k targets, and the maps that one method made of them.

    Metrics are pure functions of a case. Cases of several methods share one `Scoring`, and with it whatever the model
    said of images that do not depend on the maps.

    Attributes:
        maps: (n, k, *s), raw and signed, at the layer's resolution.
        model: the model's scores of the images, and of others; None where the maps alone are measured.
        probe: what the method looked at; None where the maps come from elsewhere.
        explain: runs the same method once more, on another probe of the same layer; None where it cannot be run.
        regions: (n, k, *positions) bool at the input's size: where the target's thing is, masks or filled boxes; None
            where that is not known. A target of which nothing is known has no True in it.
        boxes: the boxes as such; None where there are none.
    """

    maps: Floats
    model: Scoring | None = None
    probe: Probe | None = None
    explain: Explain | None = None
    regions: NDArray[np.bool_] | None = None
    boxes: Boxes | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k): images and targets."""
        return self.maps.shape[0], self.maps.shape[1]

    @property
    def scoring(self) -> Scoring:
        """The model's scores.

        Raises:
            InvalidArgument: there is no model; a metric that says that it needs one is never asked without.
        """
        if self.model is None:
            raise InvalidArgument("`model` of Case must be a Scoring. Received: None. Pass Scoring.of(pass, backend).")
        return self.model

    @property
    def size(self) -> tuple[int, ...]:
        """The positions of the model's input, such as (224, 224); those of the regions or the maps without a model."""
        if self.model is not None:
            return self.model.size
        return self.maps.shape[2:] if self.regions is None else self.regions.shape[2:]

    def has(self, need: Need) -> bool:
        """Whether the case has what a metric asks for."""
        parts = {
            "logit": self.model,
            "probability": self.model,
            "method": self.explain,
            "regions": self.regions,
            "boxes": self.boxes,
        }
        return parts[need] is not None

    @cached_property
    def heat(self) -> NDArray[np.float32]:
        """(n, k, *positions): the maps at the size of the model's input, resized as heatmaps are, signed, not scaled.

        A map with a value that is not finite is NaN everywhere: it has no order, and no metric makes a figure of it.
        """
        maps = np.where(self._all_finite, self.maps, np.nan)
        # Resized in float64 and rounded: what is level at the layer, such as the zeros of a ReLU, stays level, where
        # sums in float32 would give it an order by chance.
        return imaging.resize(maps.astype(np.float64), self.size).astype(np.float32)

    @cached_property
    def ranks(self) -> NDArray[np.int32]:
        """(n, k, *positions): in which turn positions come, the hottest first, from 0; of equals the first position."""
        ranks = np.empty((*self.shape, math.prod(self.size)), np.int32)
        # Map by map: the orders of all of them at once would take twice as much memory as the maps.
        for pair in self.pairs():
            order = np.argsort(-self.heat[pair].ravel(), kind="stable")
            ranks[pair][order] = np.arange(len(order), dtype=np.int32)
        return ranks.reshape(self.heat.shape)

    @cached_property
    def shown(self) -> NDArray[np.float32]:
        """(n, k, *positions): the maps in [0, 1] as they are drawn: cut at 0, divided by their maximum, resized."""
        maps = np.where(self._all_finite, self.maps, 0).astype(np.float64).clip(0, None)
        highest = maps.max(axis=tuple(range(2, maps.ndim)), keepdims=True)
        # An empty map stays empty.
        return imaging.resize(maps / np.where(highest > 0, highest, 1), self.size).astype(np.float32)

    @property
    def _all_finite(self) -> NDArray[np.bool_]:
        """`finite`, with the axes of the positions."""
        return self.finite[(...,) + (None,) * (self.maps.ndim - 2)]

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """(n, k): whether all of a map's values are finite."""
        return np.asarray(np.isfinite(self.maps).all(axis=tuple(range(2, self.maps.ndim))))

    @cached_property
    def flat(self) -> NDArray[np.float64]:
        """(n, k, p): the raw maps, their positions in one row."""
        return self.maps.reshape(*self.shape, -1).astype(np.float64)

    def kept(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What several metrics ask of these maps, computed once."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast("Value", self._kept[key])

    @cached_property
    def _kept(self) -> dict[Hashable, object]:
        return {}

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(image, target) of each map, for what is done map by map."""
        return iter(np.ndindex(*self.shape))

    def known(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values (n, k), with NaN where the map is not finite."""
        return np.where(self.finite, values, np.nan).astype(np.float64)
