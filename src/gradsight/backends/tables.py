"""Detections in a table: rows of predictions, with a box in the first four columns and what scores it after that.

Which column is what, names do not say, so that it is found out by values. A head gives its logits beside the table,
whose sigmoid or softmax is in it: then these are the scores. Of a head that gives all of its predictions every row has
a score for each class; one that chooses some itself gives one score and the number of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.outputs import Entry, Path, at, entries
from gradsight.contracts import Floats
from gradsight.foreign import Array, Ops, Outputs
from gradsight.targets.predictions import sigmoid, softmax
from gradsight.targets.reading import corners, in_pixels, one_hot

_SAMPLE = 256
"""How many rows are looked at; which is what is the same in all of them."""

_SHARE = 2.0
"""Up to here coordinates are shares of the picture, which may reach a little beyond it."""

_Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows (n, q, columns) in an output.

    Attributes:
        path: what leads to their array.
        turned: there it is (n, columns, q).
        stage: it holds those of several stages, (stages, n, q, columns), of which the last counts.
    """

    path: Path
    turned: bool = False
    stage: bool = False

    def of(self, outputs: Outputs, ops: Ops) -> Array:
        """Them in another output."""
        found = at(outputs, self.path)
        found = found[-1] if self.stage else found
        return ops.permute_dims(found, (0, 2, 1)) if self.turned else found


class Logits(NamedTuple):
    """The scores of classes that lie beside a table, and the activation that was made of them for it."""

    rows: Rows
    exclusive: bool


@dataclass(frozen=True)
class Table:
    """How predictions are read from a table.

    Attributes:
        rows: its rows.
        count: of how many classes.
        start: where the scores of classes begin; 5 where the column before is that of any thing.
        chosen: instead of those there is one score and the number of its class.
        logits: of every row, or of all that rows were chosen from; None where the table alone has scores.
        centred: boxes are (centre x, centre y, width, height), else (left, top, right, bottom).
        shares: of the picture, else they are in pixels.
    """

    rows: Rows
    count: int
    start: int = 4
    chosen: bool = False
    logits: Logits | None = None
    centred: bool = True
    shares: bool = False

    def read(self, outputs: Outputs, size: tuple[int, ...], ops: Ops) -> tuple[Array, Array]:
        """The scores (n, q, classes) and boxes of an output, in pixels of an input of ``size``."""
        rows = self.rows.of(outputs, ops)
        boxes = rows[..., :4]
        boxes = corners(boxes, ops) if self.centred else boxes
        boxes = in_pixels(boxes, size, ops) if self.shares else boxes
        if self.chosen:
            return self._of_chosen(rows, boxes, outputs, ops)
        if self.logits is not None:
            return self.logits.rows.of(outputs, ops), boxes
        scores = rows[..., self.start : self.start + self.count]
        return scores * rows[..., 4:5] if self.start == 5 else scores, boxes

    def _of_chosen(self, rows: Array, boxes: Array, outputs: Outputs, ops: Ops) -> tuple[Array, Array]:
        own_class = one_hot(rows[..., 5], self.count, ops)
        if self.logits is None:  # a row says nothing of other classes: their boxes have no size
            return own_class * rows[..., 4:5], own_class[..., None] * boxes[:, :, None]
        logits = self.logits.rows.of(outputs, ops)
        found = _activated(logits, self.logits.exclusive, ops)
        own = ops.matmul(own_class, ops.permute_dims(found, (0, 2, 1)))  # of all predictions, for a row's class
        chosen = ops.argmin(ops.abs(own - rows[..., 4:5]), axis=-1)
        # Every prediction keeps its scores, so that they stay what they are where other ones are chosen; the boxes of
        # those that are not chosen are not told, and have no size.
        where = ops.permute_dims(one_hot(ops.astype(chosen, logits.dtype), logits.shape[1], ops), (0, 2, 1))
        times = ops.sum(where, axis=-1)[..., None]
        return logits, ops.matmul(where, boxes) / ops.where(times > 0, times, ops.ones_like(times))


def find_table(outputs: Outputs, labels: Sequence[str] | None, numpy: Callable[[Array], Floats]) -> Table | None:
    """How detections are read from outputs like this one, by its first image; None where it holds no table.

    Args:
        outputs: with values.
        labels: class names, or None.
        numpy: copies an array to NumPy.
    """
    found = [entry for entry in entries(outputs) if entry.is_floating]
    seen = [way for entry in found for way in _ways(entry, numpy)]
    tables = [way for way in seen if not way.rows.stage and way.values.shape[1] > 4]
    matches = [match for table in tables for other in seen for match in _by_logits(table, other)]
    if matches:
        # Of several that fit, as the two heads of one model may, the one that was made of it. That all scores are there
        # is no chance, while of 0s and 1s alone, as saturated ones are, a few may look like choices.
        _, made, values = min(matches, key=lambda match: (match[1].chosen, match[0]))
        return _with_boxes(made, values)
    alone = ((_alone(table, labels, found), table.values) for table in tables)
    return next((_with_boxes(made, values) for made, values in alone if made is not None), None)


class _Way(NamedTuple):
    """One way to read a tensor as rows: its values of the first image are (q, columns)."""

    rows: Rows
    values: _Values
    images: int
    half: bool


def _ways(entry: Entry, numpy: Callable[[Array], Floats]) -> Iterator[_Way]:
    """Both ways to read a tensor that may hold rows; none for others."""
    tensor, stage = entry.tensor, entry.tensor.ndim == 4
    if tensor.ndim not in (3, 4) or 0 in tensor.shape or (stage and entry.is_other):
        return
    tensor = tensor[-1] if stage else tensor
    values = numpy(tensor[:1])[0].astype(np.float64)
    half = "16" in str(tensor.dtype)
    yield _Way(Rows(entry.path, False, stage), values, int(tensor.shape[0]), half)
    yield _Way(Rows(entry.path, True, stage), values.T, int(tensor.shape[0]), half)


def _by_logits(table: _Way, other: _Way) -> Iterator[tuple[float, Table, _Values]]:
    """How a table may be read by logits beside it, each with how far they are off."""
    values, logits = table.values, other.values
    count, half = logits.shape[1], table.half or other.half
    if other.rows.path == table.rows.path or other.images != table.images:
        return
    some = _sample(len(values))
    for exclusive, activation in enumerate((sigmoid, softmax)):
        beside = Logits(other.rows, bool(exclusive))
        if len(logits) == len(values) and values.shape[1] >= 4 + count:
            gap = _gap(values[some, 4 : 4 + count], activation(logits[some]), half)
            if gap is not None:
                yield gap, Table(table.rows, count, logits=beside), values
        if _is_chosen(values) and values[:, 5].max() < count:
            own = activation(logits)[:, values[some, 5].astype(int)]
            nearest = np.abs(own - values[some, 4]).argmin(0)
            gap = _gap(values[some, 4], own[nearest, np.arange(len(some))], half)
            if gap is not None:
                yield gap, Table(table.rows, count, chosen=True, logits=beside), values


def _alone(table: _Way, labels: Sequence[str] | None, found: Sequence[Entry]) -> Table | None:
    """How a table is read that has no logits beside it."""
    values = table.values
    if _is_chosen(values) and (np.diff(values[:, 4]) <= 0).all() and _are_corners(values):
        count = 1 + int(values[:, 5].max()) if labels is None else len(labels)
        return Table(table.rows, count, chosen=True) if values[:, 5].max() < count else None
    if labels is None:
        return None
    # the coefficients of masks lie behind the scores, as many as there are masks to be mixed
    extras = (0, *(int(x.tensor.shape[1]) for x in found if x.tensor.ndim == 4 and not x.is_other))
    starts = (start for extra in extras for start in (4, 5) if values.shape[1] == start + len(labels) + extra)
    start = next(starts, None)
    return None if start is None else Table(table.rows, len(labels), start)


def _is_chosen(values: _Values) -> bool:
    """Whether rows have one probability, in column 4, and the number of a class, in column 5."""
    if values.shape[1] < 6:
        return False
    score, index = values[:, 4], values[:, 5]
    whole = np.array_equal(index, np.round(index)) and bool((index >= 0).all())
    return whole and bool(((score >= 0) & (score <= 1)).all() and score.any())


def _with_boxes(table: Table, values: _Values) -> Table:
    """The same with how its boxes are written."""
    boxes = values[:, :4]
    centred = not _are_corners(boxes) or not (table.chosen or _move_together(boxes))
    return replace(table, centred=centred, shares=bool(np.abs(boxes).max() <= _SHARE))


def _are_corners(boxes: _Values) -> bool:
    """Whether right is never left of left, and bottom never above top."""
    return bool((boxes[:, 2] >= boxes[:, 0]).all() and (boxes[:, 3] >= boxes[:, 1]).all())


def _move_together(boxes: _Values) -> bool:
    """Whether the third and fourth number move with the first two from one prediction to the next.

    Neighbours in the order of a head's predictions are neighbours in the picture: the right side moves as the left
    one does, while a width does not move as its centre does.
    """
    steps = np.diff(boxes, axis=0)
    first, second = steps[:, :2].ravel(), steps[:, 2:].ravel()
    return bool(first @ second > 0.5 * (first @ first))


def _gap(found: _Values, expected: _Values, half: bool) -> float | None:
    """By what share probabilities are off from what they should be; None where they are others.

    Most of a head's probabilities are small, so that a fixed room would make any of them alike.
    """
    finite = np.isfinite(found) & np.isfinite(expected)
    relative, absolute = (2e-2, 1e-6) if half else (1e-4, 1e-12)
    if not finite.any() or not np.allclose(found[finite], expected[finite], rtol=relative, atol=absolute):
        return None
    return float((np.abs(found - expected) / (np.abs(expected) + absolute))[finite].max())


def _sample(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, _SAMPLE).astype(np.int64))


def _activated(logits: Array, exclusive: bool, ops: Ops) -> Array:
    if not exclusive:
        return 1 / (1 + ops.exp(-logits))
    shares = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    return shares / ops.sum(shares, axis=-1, keepdims=True)
