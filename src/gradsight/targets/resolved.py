"""Targets, resolved for a model's output: the same scores can be taken of any further output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.cached import cached_property
from gradsight.errors import InvalidType, received
from gradsight.foreign import Array, Inputs, Ops, Outputs

if TYPE_CHECKING:
    from gradsight.imaging import Placement

Score: TypeAlias = Callable[[Outputs], Array]
"""A differentiable function of the model's output that gives a score for each row: (m,)."""

Reader: TypeAlias = Callable[[Outputs], Array]
"""Finds an array of some kind in a model's output; gives None where it has none."""

Floats = NDArray[np.floating]
Indices = NDArray[np.intp]


class Target(Protocol):
    """What can be explained: whatever gives scores for a model's output."""

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """The scores of this target, and what they are called.

        Raises:
            GradsightError: the model's output holds nothing of the kind.
        """


class HoldsNumbers(Protocol):
    """An array or tensor of any framework that gives its numbers as Python's own."""

    def tolist(self) -> object:
        """A number, or nested lists of numbers."""


TargetLike: TypeAlias = "int | str | Target | Score | HoldsNumbers | Sequence[TargetLike]"
"""What may be given as a target: a class by its index or label, a target such as `Top`, a function of the output, or
one of these for each image. `resolve` says what each means."""


@dataclass(frozen=True)
class TargetInfo:
    """One target of one image, for people.

    Attributes:
        index: the class; None where the target is not one class.
        label: what to call it.
        sides: what the two signs of its map speak for, where both mean something: ``("tabby", "lynx")``.
        place: (top, left, bottom, right) that the target is about, in pixels of the photo, or of the input where there
            is none; empty where it is about no box.
    """

    index: int | None
    label: str
    sides: tuple[str, ...] = ()
    place: tuple[float, ...] = ()

    @property
    def signed(self) -> bool:
        """Both signs of its map mean something."""
        return bool(self.sides)


@dataclass(frozen=True)
class Prediction:
    """One of the model's best classes for an image."""

    index: int
    label: str
    probability: float


def _nothing(_: object) -> None:
    """What reads from an output that holds nothing of the kind."""


def _itself(outputs: Outputs) -> Outputs:
    """What is given."""
    return outputs


@dataclass(frozen=True, eq=False)
class OutputContext:
    """What targets need to be resolved: a model's output for a batch, and how it is read.

    Attributes:
        n: how many images the output is of.
        logits: the class scores, (n, classes) as NumPy; None where the model gives something else.
        labels: class names by index, or None.
        missing: why a class cannot be explained, where the scores are none of classes; empty where it can.
        outputs: the model's own output.
        described: the output in words, for the message when a target does not fit.
        total: how many images the user gave, where the output is of some of them alone.
        first: which of those the first image of the output is.
        images: those that the target is for.
        ops: array functions.
        numpy: copies an array to NumPy.
        size: (height, width) of the model's input.
        placements: where each image's input lies on its photo; empty where a batch was given.
        dense: from an output to class scores at positions, (m, classes, rows, columns); None if it has none.
        sequence: from an output to class scores at each position of a sequence, (m, length, classes); None if none.
        detections: from an output to a detector's scores (m, q, classes) and boxes (m, q, 4), each (left, top, right,
            bottom) in pixels of the model's input; None if it has none.
        embedding: from an output to embeddings, (m, d); None if it has none.
        embed: from a photo, or a batch, to the embeddings of it.
        embed_text: from a text to its embedding, (1, d); None where the model reads no texts.
        private: from an output to the same with arrays of its own, for functions that may write into them.
    """

    n: int
    logits: Floats | None = None
    labels: Sequence[str] | None = None
    missing: str = ""
    outputs: Outputs = None
    described: str = ""
    total: int = 0
    first: int = 0
    images: Sequence[int] = ()
    ops: Ops = None
    numpy: Callable[[Array], NDArray[np.floating]] = np.asarray
    size: tuple[int, ...] = ()
    placements: Sequence[Placement] = ()
    dense: Reader = _nothing
    sequence: Reader = _nothing
    detections: Callable[[Outputs], tuple[Array, Array] | None] = _nothing
    embedding: Reader = _nothing
    embed: Callable[[Inputs], Array] = _nothing
    embed_text: Callable[[str], Array] | None = None
    private: Callable[[Outputs], Outputs] = _itself

    def __post_init__(self) -> None:
        if not self.total:
            object.__setattr__(self, "total", self.n)
        if not self.images:
            object.__setattr__(self, "images", range(self.n))

    def each(self, values: NDArray[np.generic], like: Array) -> Array:
        """NumPy values of each image, (n, ...), for the rows (m, ...) of an output, as an array of its kind."""
        return _as_rows(values, like, self.n, self.ops)


@dataclass(frozen=True, eq=False)
class Term:
    """One term of a score: a class of each image or a function of the output, times a factor.

    Attributes:
        factor: what it is multiplied with; one for all images, or (n,) one for each.
        classes: (n,) class indices; None where the term is a function.
        function: ``outputs -> (m,)``; None where the term is a class.
    """

    factor: float | Floats = 1
    classes: Indices | None = None
    function: Score | None = None

    def times(self, factor: float | Floats) -> Term:
        """The same, multiplied."""
        return replace(self, factor=self.factor * factor)


Column = tuple[Term, ...]
"""The terms that one target's score adds up from."""


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
            picked = ops.pick(logits, np.tile(self.indices, (logits.shape[0] // len(self.names), 1)))
            if self.classes is not None and self.classes.shape == self.indices.shape:  # none is named twice
                return picked
            values = {id(term): picked[:, column] for term, _, column in self._picks()}
        called: dict[int, Array] = {}
        for term in self._terms():
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
        return values * _as_rows(term.factor, values, len(self.names), ops)

    def _terms(self) -> Iterator[Term]:
        return (term for column in self.columns for term in column)

    def _picks(self) -> Iterator[tuple[Term, Indices, int]]:
        """Each term that is a class, the class of each image, and its column of `indices`."""
        numbers: dict[bytes, int] = {}
        for term in self._terms():
            if term.classes is not None:
                key = np.asarray(term.classes, np.int64).tobytes()
                yield term, term.classes, numbers.setdefault(key, len(numbers))

    @cached_property
    def indices(self) -> Indices | None:
        """(n, p): the classes that any target is made of, each column once; None where there is none."""
        classes = {column: indices for _, indices, column in reversed(list(self._picks()))}
        return np.stack([classes[column] for column in sorted(classes)], axis=1) if classes else None

    @property
    def of_classes(self) -> bool:
        """Every target is a class, or sums of some."""
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
            if len(column) == 1 and column[0].classes is not None and np.all(column[0].factor == 1)
        ]
        return np.stack(plain, axis=1) if len(plain) == len(self.columns) else None

    def tiled(self, times: int) -> ScoreSpec:
        """The same targets for a batch that holds this one ``times`` times: row j is row j % n."""
        if times == 1:
            return self

        def tiled(term: Term) -> Term:
            factor = np.tile(term.factor, times) if isinstance(term.factor, np.ndarray) else term.factor
            return replace(term, factor=factor, classes=None if term.classes is None else np.tile(term.classes, times))

        return ScoreSpec(self.names * times, tuple(tuple(map(tiled, column)) for column in self.columns))

    def scaled(self, factor: float) -> ScoreSpec:
        """The same targets with their scores multiplied."""
        return replace(self, columns=tuple(tuple(term.times(factor) for term in column) for column in self.columns))


def of_function(function: Score, labels: Sequence[TargetInfo]) -> ScoreSpec:
    """One target that is a function of the output, with the name that it has for each image."""
    return ScoreSpec(tuple((name,) for name in labels), ((Term(function=function),),))


def _as_rows(values: NDArray[np.generic], like: Array, n: int, ops: Ops) -> Array:
    """NumPy values of each of n images, for the rows of ``like``; row j belongs to image j % n."""
    tiled = np.tile(values, (like.shape[0] // n, *[1] * (np.ndim(values) - 1)))
    return ops.asarray(tiled, dtype=like.dtype, device=getattr(like, "device", None))  # JAX's tracers have none


def _called(function: Score, outputs: Outputs) -> Array:
    score = function(outputs)
    if getattr(score, "ndim", None) != 1:
        raise InvalidType(
            "a target function must return one score for each image, an array of shape (n,). "
            f"{received(score)} Select or sum over the other axes."
        )
    return score
