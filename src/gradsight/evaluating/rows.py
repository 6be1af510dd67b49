"""What is measured: one row for each image, target, layer, method and metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from gradsight.errors import InvalidType, received
from gradsight.metric_registry import as_metric
from gradsight.metric_sets import figures

OF_IMAGE = ""
"""The layer of maps that are of the image itself."""

JOINED = ", "
"""Between the names of layers of maps that are of several."""

Key: TypeAlias = tuple[str, str, str]
"""(layer, method, metric)."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        image: the photo's name.
        target: what was explained, in words.
        index: its class; None where it is no class.
        layer: whose maps they are; of several layers their names with commas; empty where they are of the image itself.
        method: the method's name, with its options.
        metric: the metric's name, with its options.
        value: NaN where the metric is undefined. Of a metric of sets (`metric_sets`) the figure that this image has
            among all that were measured.
        values: what such a figure is made of; empty for all other metrics.
    """

    image: str
    target: str
    index: int | None
    layer: str
    method: str
    metric: str
    value: float
    values: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        """What it is a figure of."""
        return self.layer, self.method, self.metric


@dataclass(frozen=True)
class Measured:
    """A photo that was measured.

    Attributes:
        image: its name.
        rows: its figures.
        problems: what of it could not be measured, in words.
    """

    image: str
    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unmeasured:
    """A photo that could not be measured.

    Attributes:
        image: its name.
        reason: why, in words.
    """

    image: str
    reason: str


def every_of(name: str, values: object, kind: type, words: str) -> None:
    """Check that an argument is a tuple of values of one type, of which there may be millions.

    Raises:
        InvalidType: it is none.
    """
    if not isinstance(values, tuple) or not all(isinstance(value, kind) for value in values):
        raise InvalidType(f"`{name}` must be a tuple of {words}. {received(values)}")


def by_key(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """The rows of each layer, method and metric, in the order in which they come."""
    # Not sorted: tables show methods and metrics in the order in which they were named.
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.key].append(row)
    return dict(found)


def with_figures(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The same rows with the figures of metrics of sets, which depend on all rows of a method."""
    # By identity: two targets of one image may have equal rows, and each has a figure of its own.
    made: dict[int, Row] = {}
    for (_, _, name), own in by_key(row for row in rows if row.values).items():
        found = figures(as_metric(name), np.array([row.values for row in own], np.float64))
        made.update({id(row): replace(row, value=float(value)) for row, value in zip(own, found, strict=True)})
    return tuple(made.get(id(row), row) for row in rows)
