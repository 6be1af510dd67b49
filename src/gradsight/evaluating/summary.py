"""The figures of each method on a set of photos, with intervals, ranks and tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.evaluating.rows import OF_IMAGE, Key, Row, by_key
from gradsight.metric_registry import Metric, as_metric
from gradsight.metric_sets import figures
from gradsight.registry import METHODS
from gradsight.significance import Interval, Pair, all_pairs, beats, interval, share

_RESAMPLES = 1999
"""Of an interval: its ends are known to a twentieth of its width, and a table of 200 takes seconds."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One method at one layer by one metric.

    Attributes:
        layer: see `Row`.
        method: the method's name.
        metric: the metric's name.
        mean: over images, each the mean of its targets; of a metric of sets the figure of the set.
        low: the lower end of the interval over images, 95 %; NaN where there are too few.
        high: its upper end.
        n: how many images have a value.
        missing: how many have none.
        better: ``"higher"`` or ``"lower"``.
        rank: its place among all methods and layers by this metric, 1 for the best; equal ones share a place. None
            where it has no mean.
        beats_random_p: how often random maps would do as badly beside it on the same images if it were no better than
            they are; one-sided, not corrected for the number of methods. None of the control itself.
        control: it says nothing of the model.
    """

    layer: str
    method: str
    metric: str
    mean: float
    low: float
    high: float
    n: int
    missing: int
    better: str
    rank: int | None
    beats_random_p: float | None
    control: bool

    @property
    def key(self) -> Key:
        """What it is a figure of."""
        return self.layer, self.method, self.metric


def per_image(rows: Sequence[Row], images: Sequence[str]) -> NDArray[np.float64]:
    """(n,): the mean of each image's values, NaN where it has none."""
    place = {image: i for i, image in enumerate(images)}
    # Images are what is drawn at random: several targets of one are not as many images.
    total, count = np.zeros(len(images)), np.zeros(len(images))
    for row in rows:
        if not math.isnan(row.value):
            total[place[row.image]] += row.value
            count[place[row.image]] += 1
    return np.asarray(np.divide(total, count, out=np.full(len(images), np.nan), where=count > 0))


def images_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The images of rows, in their order."""
    return tuple(dict.fromkeys(row.image for row in rows))


def summary_of(rows: Sequence[Row], seed: int) -> tuple[Summary, ...]:
    """A summary for each layer, method and metric, in the order of the rows; see `with_figures` for sets."""
    images, grouped = images_of(rows), by_key(rows)
    values = {key: per_image(own, images) for key, own in grouped.items()}
    intervals = {key: _interval(own, values[key], seed) for key, own in grouped.items()}
    ranks = _ranks({key: found.mean for key, found in intervals.items()})
    made = []
    for key, found in intervals.items():
        layer, method, metric = key
        better = as_metric(metric).better
        # Random maps of the same layer, as coarse as its own: what is finer or coarser fares otherwise by that alone.
        control = random_beside(key, values)
        p = None if control is None else beats(values[key], values[control], better=better, seed=seed).p
        made.append(
            Summary(
                layer=layer,
                method=method,
                metric=metric,
                mean=found.mean,
                low=found.low,
                high=found.high,
                n=found.n,
                missing=found.missing,
                better=better,
                rank=ranks[key],
                beats_random_p=p,
                control=is_control(method),
            )
        )
    return tuple(made)


def pairs_of(rows: Sequence[Row], seed: int) -> dict[str, tuple[Pair, ...]]:
    """By metric the tests of each two methods without the controls, with Holm's correction over its pairs."""
    images, grouped = images_of(rows), by_key(rows)
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for (layer, method, metric), own in grouped.items():
        # Tests that nobody asks about would make all others harder to pass.
        if not is_control(method):
            found.setdefault(metric, {})[told(layer, method)] = per_image(own, images)
    return {metric: all_pairs(values, seed=seed) for metric, values in found.items()}


def told(layer: str, method: str) -> str:
    """A method at a layer, in words.

    >>> told("layer4", "gradcam"), told("", "edge")
    ('gradcam at layer4', 'edge')
    """
    return f"{method} at {layer}" if layer else method


def is_control(method: str) -> bool:
    """Whether a method says nothing of the model, by its name."""
    entry = METHODS.get(method.partition("(")[0])
    return entry is not None and entry.control


def random_beside(key: Key, known: Mapping[Key, object]) -> Key | None:
    """The control that a figure is compared with: random maps of its layer, or of the first one."""
    layer, method, metric = key
    if method == "random":
        return None
    own = (layer, "random", metric)
    others = (other for other in known if other[1:] == ("random", metric))
    return own if own in known and layer != OF_IMAGE else next(others, None)


def _interval(rows: Sequence[Row], values: NDArray[np.float64], seed: int) -> Interval:
    metric = as_metric(rows[0].metric)
    plain = share if metric.hits else interval
    known = values[~np.isnan(values)]
    # A set of hits alone too: to draw from it gives nothing but hits, and an exact share says more.
    if metric.together is None or (len(known) and (known == known[0]).all()):
        return plain(values, seed=seed, resamples=_RESAMPLES)
    there, aggregate = _of_set(metric, [row for row in rows if not any(map(math.isnan, row.values))])
    found = interval(there, seed=seed, aggregate=aggregate, resamples=_RESAMPLES)
    return Interval(**{**vars(found), "missing": len(values) - found.n})


def _of_set(metric: Metric, rows: Sequence[Row]) -> tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], float]]:
    """The images by their numbers, and the figure of some of them: images are drawn, with all of their targets."""
    places: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        places.setdefault(row.image, []).append(i)
    held = np.array([row.values for row in rows], np.float64)
    of_image = [np.array(own) for own in places.values()]
    # The usual case, for which one index does what a loop over images would.
    single = all(len(own) == 1 for own in of_image)

    def aggregate(images: NDArray[np.float64]) -> float:
        chosen = images.astype(int)
        at = chosen if single else np.concatenate([of_image[i] for i in chosen])
        return float(figures(metric, held[at]).mean())

    return np.arange(len(of_image), dtype=np.float64), aggregate


def _ranks(means: Mapping[Key, float]) -> dict[Key, int | None]:
    ranks: dict[Key, int | None] = {}
    for key, mean in means.items():
        sign = 1 if as_metric(key[2]).better == "higher" else -1
        others = [other for one, other in means.items() if one[2] == key[2]]
        ranks[key] = None if math.isnan(mean) else 1 + sum(sign * other > sign * mean for other in others)
    return ranks
