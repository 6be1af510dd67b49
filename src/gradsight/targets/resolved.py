"""Targets, resolved for a model's output: the same scores can be taken of any further output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradsight.cached import cached_property
from gradsight.errors import InvalidType, received
from gradsight.foreign import Array, Ops, Outputs
from gradsight.targets.context import Floats, Indices, Score, TargetInfo, as_rows


@dataclass(frozen=True, eq=False)
class Term:
    """One term of a score: a class of each image or a function of the output, times a factor.

    Attributes:
        factor: what it is multiplied with; one for all images, or (n,) one for each.
        classes: (n,) class indices; None where the term is a function.
        function: ``outputs -> (m,)``; None where the term is a class.
        by_row: a function looks at each row by itself, and does not know which image it is; a class always does.
    """

    factor: float | Floats = 1
    classes: Indices | None = None
    function: Score | None = None
    by_row: bool = False

    def times(self, factor: float | Floats) -> Term:
        """The same, multiplied."""
        return replace(self, factor=self.factor * factor)


Column = tuple[Term, ...]
"""The terms of one target's score, which is their sum."""


@dataclass(frozen=True, eq=False)
class ScoreSpec:
    """Targets, resolved for a model's output: the same scores can be taken of any further output.

    Attributes:
        names: for each of n images its k targets.
        columns: of each of the k targets, its terms.
    """

    names: tuple[tuple[TargetInfo, ...], ...]
    columns: tuple[Column, ...]

    def scores(self, outputs: Outputs, logits: Array | None, ops: Ops) -> Array:
        """The scores (m, k) of an output; row j belongs to image j % n.

        Args:
            outputs: the model's own output, for a target that is a function.
            logits: (m, classes), for targets that are classes; None where the output is no row of class scores.
            ops: array functions; ``ops.pick(logits, indices)`` takes some classes of each row, (m, p).

        Raises:
            InvalidType: a function gave something else than one number for each row.
        """
        values: dict[int, Array] = {}
        if self.indices is not None and logits is not None:
            # Every class once, in one operation: the gradient of one gather is cheaper than that of many.
            times = logits.shape[0] // len(self.names)
            picked = ops.pick(logits, self.indices if times == 1 else np.tile(self.indices, (times, 1)))
            if self.classes is not None and self.classes.shape == self.indices.shape:  # none is named twice
                return picked
            values = {id(term): picked[:, column] for term, _, column in self._picks()}
        called: dict[int, Array] = {}
        for term in self._terms():
            # A function that stands in several terms runs once: it may be costly, and it may count its calls.
            if term.function is not None:
                key = id(term.function)
                values[id(term)] = called[key] = called[key] if key in called else _called(term.function, outputs)
        sums = [self._sum([self._times(term, values[id(term)], ops) for term in column]) for column in self.columns]
        return ops.stack(sums, axis=1)

    @staticmethod
    def _sum(values: Sequence[Array]) -> Array:
        return sum(values[1:], values[0])

    def _times(self, term: Term, values: Array, ops: Ops) -> Array:
        if not isinstance(term.factor, np.ndarray):
            return values if term.factor == 1 else values * float(term.factor)
        return values * as_rows(term.factor, values, len(self.names), ops)

    def _terms(self) -> Iterator[Term]:
        return (term for column in self.columns for term in column)

    def _picks(self) -> Iterator[tuple[Term, Indices, int]]:
        """Each term that is a class, the class of each image, and its column of `indices`."""
        numbers: dict[bytes, int] = {}
        for term in self._terms():
            if term.classes is not None:
                # By value: targets made one by one name the same classes in different arrays.
                key = np.asarray(term.classes, np.int64).tobytes()
                yield term, term.classes, numbers.setdefault(key, len(numbers))

    @cached_property
    def indices(self) -> Indices | None:
        """(n, p): the classes that any target is made of, each column once; None where there is none."""
        classes = {column: indices for _, indices, column in reversed(list(self._picks()))}
        if len(classes) == 1:
            return classes[0][:, None]
        return np.stack([classes[column] for column in sorted(classes)], axis=1) if classes else None

    @cached_property
    def of_classes(self) -> bool:
        """Whether every target is a class or a sum of classes."""
        return all(term.classes is not None for term in self._terms())

    @property
    def count(self) -> int:
        """How many targets each image has, k."""
        return len(self.columns)

    @cached_property
    def classes(self) -> Indices | None:
        """(n, k) class indices where each target is one class and nothing else; None otherwise."""
        plain = [
            column[0].classes
            for column in self.columns
            if len(column) == 1 and column[0].classes is not None and _is_one(column[0].factor)
        ]
        if len(plain) == len(self.columns) == 1:
            return plain[0][:, None]
        return np.stack(plain, axis=1) if len(plain) == len(self.columns) else None

    @property
    def by_row(self) -> bool:
        """Whether the score of a row hangs on the image that it belongs to alone, and not on where it stands."""
        return all(term.by_row or term.classes is not None for term in self._terms())

    def of_images(self, images: Indices) -> ScoreSpec:
        """The same targets for rows that belong to these images, by number; of targets that are `by_row`."""

        def chosen(term: Term) -> Term:
            factor = term.factor[images] if isinstance(term.factor, np.ndarray) else term.factor
            return replace(term, factor=factor, classes=None if term.classes is None else term.classes[images])

        return ScoreSpec(
            tuple(self.names[i] for i in images), tuple(tuple(map(chosen, column)) for column in self.columns)
        )

    def tiled(self, times: int) -> ScoreSpec:
        """The same targets for a batch that holds this one ``times`` times: row j is row j % n."""
        if times == 1:
            return self

        def tiled(term: Term) -> Term:
            # A factor of each image belongs to the rows, a single one to all.
            factor = np.tile(term.factor, times) if isinstance(term.factor, np.ndarray) else term.factor
            return replace(term, factor=factor, classes=None if term.classes is None else np.tile(term.classes, times))

        return ScoreSpec(self.names * times, tuple(tuple(map(tiled, column)) for column in self.columns))

    def scaled(self, factor: float) -> ScoreSpec:
        """The same targets with their scores multiplied."""
        return replace(self, columns=tuple(tuple(term.times(factor) for term in column) for column in self.columns))


def _is_one(factor: float | Floats) -> bool:
    return bool(np.all(factor == 1)) if isinstance(factor, np.ndarray) else factor == 1


def of_function(function: Score, labels: Sequence[TargetInfo]) -> ScoreSpec:
    """One target that is a function of the output, with its name for each image."""
    return ScoreSpec(tuple((name,) for name in labels), ((Term(function=function),),))


def _called(function: Score, outputs: Outputs) -> Array:
    score = function(outputs)
    if getattr(score, "ndim", None) != 1:
        raise InvalidType(
            "a target function must return one score for each image, an array of shape (n,). "
            f"{received(score)} Select or sum over the other axes."
        )
    return score
