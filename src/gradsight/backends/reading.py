"""Reading class scores from what a model gives: where they are, and what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.choice import Choice, Values
from gradsight.backends.outputs import Path, at, entries, is_tensor
from gradsight.contracts import Floats
from gradsight.errors import InvalidType, received
from gradsight.foreign import Array, Ops, Outputs
from gradsight.targets import Reading, check_fit, is_fit
from gradsight.targets.predictions import look_of
from gradsight.targets.scores import Scores

_TRIALS = 4
"""By so many other weights scores are looked at."""

Shapes: TypeAlias = frozenset[tuple[Path, tuple[int, ...]]]
"""What tells how an output is read: its tensors by their paths, with all sizes but that of the batch."""


@dataclass(frozen=True)
class Known:
    """What is known of a model's scores before it runs.

    Attributes:
        scores: how the user reads them; None to look for them.
        labels: the classes' names; None where they are not known.
        left_out: the activation at its end that its source has left out, so that it gives logits; empty if none.
    """

    scores: Scores | None = None
    labels: tuple[str, ...] | None = None
    left_out: str = ""


NOTHING = Known()
"""The scores are looked for."""


class Reader:
    """Reads the outputs of one model. How each kind of output is read is settled once, and kept."""

    def __init__(
        self,
        ops: Ops,
        numpy: Callable[[Array], Floats],
        left_out: Callable[[], str],
        known: Known = NOTHING,
        channels: int = 1,
    ) -> None:
        """Nothing is run.

        Args:
            ops: array functions.
            numpy: copies an array to NumPy.
            left_out: gives the activation at the model's end that is left out, empty if none, once the model has run.
            known: what is known of the scores.
            channels: which axis of maps holds channels, 1 or -1.
        """
        self._ops, self._numpy, self._left_out = ops, numpy, left_out
        self._known, self._channels = known, channels
        self._labels = known.labels
        self._readings: dict[Shapes, Reading] = {}
        # Of scores by their output's shapes, and of maps: which probabilities they look like, empty for none.
        self._looks: dict[Shapes, str] = {}
        self._looks_of_maps: dict[Shapes, str] = {}

    def resolve(self, outputs: Outputs, n: int, vary: Callable[[int], Outputs | None]) -> None:
        """Find out how outputs like this one are read.

        That scores lie in [0, 1] does not make probabilities of them: the logits of a small or untrained model may lie
        there too. By other weights logits leave it, and those behind a softmax or sigmoid cannot: where scores look
        like probabilities, one image passes a few more times, by other weights.

        Args:
            outputs: of a pass, with values.
            n: how many images they are of; what has other rows is not about each.
            vary: from a number to what the model gives by other weights; None where it fails by them.

        Raises:
            InvalidArgument: the labels do not fit the scores.
            InvalidType: the user's function gives no rows of scores.
        """
        key = _shapes(outputs)
        # Once for each kind of output, so that a batch is read as the one before, whatever its values.
        reading = self._readings.get(key)
        of_two = self._labels is not None and len(self._labels) == 2
        if reading is not None and self._looks.get(key) == "" and not of_two:
            return  # logits stay logits, whatever their values
        reading = reading or self._chosen(outputs, self._values, n)
        if not reading.missing:  # what is open for want of finite values may be settled by the next
            self._readings[key] = reading
        raw = self._raw(outputs, reading)
        if raw is not None and not reading.missing:
            self._look(self._looks, key, raw, lambda seed: self._raw(vary(seed), reading))
        # A map is looked at where one score of it may speak for two classes.
        mask = self._map(outputs) if of_two else None
        if mask is not None and self._is_binary(mask.shape[self._channels]):
            self._look(self._looks_of_maps, key, mask, lambda seed: self._map(vary(seed)))

    def reading(self, outputs: Outputs) -> Reading:
        """How class scores are read from an output, and what they are."""
        key = _shapes(outputs)
        reading = self._readings.get(key) or self._chosen(outputs, None)
        gives = self._looks.get(key, "")
        return replace(reading, gives=gives) if gives else reading

    def scores(self, outputs: Outputs) -> Array | None:
        """The class scores in an output, (n, classes); None where there are none.

        One score for two labels gives two: of logits its negation and itself, of a probability what it leaves to 1 and
        itself.
        """
        reading = self.reading(outputs)
        raw = self._raw(outputs, reading)
        return self._of_both(raw, reading.gives, 1) if reading.binary and raw is not None else raw

    def dense(self, outputs: Outputs) -> Array | None:
        """The class scores at positions, (n, classes, rows, columns); None where there are none. See `scores`."""
        found = self._map(outputs)
        if found is not None and self._is_binary(found.shape[self._channels]):
            gives = self._looks_of_maps.get(_shapes(outputs), "")
            found = self._of_both(found, gives, self._channels)
        return found if found is None or self._channels == 1 else self._ops.moveaxis(found, -1, 1)

    def sequence(self, outputs: Outputs) -> Array | None:
        """The class scores at places of a sequence, (n, length, classes); None where there are none."""
        found = [x for x in _likeliest(outputs) if x.ndim == 3]
        fitting = [x for x in found if self._labels is not None and x.shape[2] == len(self._labels)]
        return next(iter(fitting or found), None)

    def _position_axes(self, tensor: Array) -> tuple[int, ...]:
        return tuple(range(1, tensor.ndim - 1) if self._channels == -1 else range(2, tensor.ndim))

    def _channels_of(self, tensor: Array) -> int | None:
        """How many classes a tensor scores at the positions of a picture or volume; None where it has none."""
        positions = any(tensor.shape[axis] != 1 for axis in self._position_axes(tensor))
        return int(tensor.shape[self._channels]) if tensor.ndim in (4, 5) and positions else None

    def _map(self, outputs: Outputs) -> Array | None:
        """The tensor of class scores at positions, as the framework lays it out."""
        found = [x for x in _likeliest(outputs) if x.ndim == 4 and self._channels_of(x) is not None]
        fitting = [x for x in found if self._labels is not None and is_fit(self._labels, x.shape[self._channels])]
        return next(iter(fitting or found), None)

    def _is_binary(self, count: int) -> bool:
        return count == 1 and self._labels is not None and len(self._labels) == 2

    def _of_both(self, score: Array, gives: str, axis: int) -> Array:
        return self._ops.concat([1 - score if gives else -score, score], axis=axis)

    def _look(self, looks: dict[Shapes, str], key: Shapes, raw: Array, again: Callable[[int], Array | None]) -> None:
        """See what scores are, the first time by trial; later ones may only show that they are no probabilities."""
        known = looks.get(key)
        # Nothing is asked of values where the answer is known: a left-out softmax leaves logits.
        look = "" if self._left_out() or known == "" else self._look_of(raw)
        if look is None:
            return
        for seed in range(_TRIALS if known is None else 0):
            varied = again(seed) if look else None
            seen = None if varied is None else self._look_of(varied)
            look = look if seen is None else _weaker(look, seen)
        looks[key] = look if known is None else _weaker(look, known)

    def _look_of(self, raw: Array) -> str | None:
        values = self._numpy(raw).astype(np.float64)
        return look_of(values if values.ndim == 2 else values.reshape(-1, 1))  # of one class at positions

    def _raw(self, outputs: Outputs, reading: Reading) -> Array | None:
        """The scores as the model gives them, (n, classes)."""
        if outputs is None:
            return None
        if self._known.scores is not None:
            return _class_rows(self._known.scores.function, self._ops.private(outputs))
        if reading.path is None:
            return None
        tensor = at(outputs, reading.path)
        if reading.positions:
            return self._ops.mean(tensor, axis=self._position_axes(tensor))
        if tensor.ndim == 2:
            return tensor
        count = self._count(tensor)
        return tensor if count is None else self._ops.reshape(tensor, (-1, count))

    def _count(self, tensor: Array) -> int | None:
        """How many classes a tensor scores, (n, classes); None where it has positions, or is one number.

        A number for each image counts as one class, and so do class scores with positions of size one.
        """
        if tensor.ndim < 2:
            return 1 if tensor.ndim else None
        ends = [(tensor.shape[2:], tensor.shape[1])]
        if self._channels == -1:
            ends.append((tensor.shape[1:-1], tensor.shape[-1]))
        return next((int(count) for axes, count in ends if all(size == 1 for size in axes)), None)

    def _chosen(self, outputs: Outputs, values: Values | None, n: int | None = None) -> Reading:
        own = self._known.scores
        if own is not None:
            count = int(_class_rows(own.function, self._ops.private(outputs)).shape[1])
            if not own.missing:
                check_fit(self._labels, count)
            return self._as_binary(Reading((), "", own.activation, missing=own.missing), count)
        found = [entry for entry in entries(outputs) if entry.is_floating]
        # Tensors with other rows are about no image: anchors, prototypes, a temperature.
        found = [entry for entry in found if tuple(entry.tensor.shape[:1]) == (n,)] or found
        choice = Choice(found, self._count, self._labels, values)
        entry, missing = choice.made(outputs)
        activation = self._left_out() or "softmax"
        if entry is None and not missing:
            entry, missing = choice.map(self._channels_of, outputs)
            if entry is not None:
                reading = Reading(entry.path, "", "", positions=True)
                return self._as_binary(reading, self._channels_of(entry.tensor) or 0)
        if entry is None:
            return Reading(None, "", activation, missing=missing)
        return self._as_binary(Reading(entry.path, "", activation), self._count(entry.tensor) or 0)

    def _as_binary(self, reading: Reading, count: int) -> Reading:
        """The same, of two classes if it is of one score and there are two labels."""
        if not self._is_binary(count):
            return reading
        return replace(reading, binary=True, activation=reading.activation and "sigmoid")

    def _values(self, tensor: Array) -> NDArray[np.float64]:
        values = self._numpy(tensor).astype(np.float64)
        return values.reshape(len(values), -1)


def _class_rows(function: Callable[[Outputs], Array], outputs: Outputs) -> Array:
    """What the user's function reads, checked."""
    scores = function(outputs)
    if getattr(scores, "ndim", None) != 2:
        raise InvalidType(f"`scores` must give one row of class scores for each image, (n, k). {received(scores)}")
    return scores


def _likeliest(outputs: Outputs) -> list[Array]:
    """The floating-point tensors that may be scores, in the order of their names."""
    found = [entry for entry in entries(outputs) if entry.is_floating and not entry.is_other]
    return [entry.tensor for entry in sorted(found, key=lambda entry: entry.rank)]


def _shapes(outputs: Outputs) -> Shapes:
    if is_tensor(outputs):  # as most are
        return frozenset((((), tuple(outputs.shape[1:])),))
    return frozenset((entry.path, tuple(entry.tensor.shape[1:])) for entry in entries(outputs))


def _weaker(one: str, other: str) -> str:
    """Of two kinds of probabilities what both are: those of a softmax could be a sigmoid's."""
    return min(one, other, key=("", "sigmoid", "softmax").index)
