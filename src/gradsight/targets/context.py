"""What may be a target, and what a target needs to know of a model's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.foreign import Array, Inputs, Ops, Outputs

if TYPE_CHECKING:
    from gradsight.imaging import Placement
    from gradsight.targets.resolved import ScoreSpec

Score: TypeAlias = Callable[[Outputs], Array]
"""A differentiable function of the model's output that gives a score for each row: (m,)."""

Reader: TypeAlias = Callable[[Outputs], Array]
"""Finds an array of some kind in a model's output; gives None where it has none."""

Floats = NDArray[np.floating]
Indices = NDArray[np.intp]


class Target(Protocol):
    """Anything that can be explained: it turns a model's output into scores."""

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
    """A reader that finds nothing."""


def _itself(outputs: Outputs) -> Outputs:
    """The outputs themselves."""
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
        # Most callers have one output of the whole batch.
        if not self.total:
            object.__setattr__(self, "total", self.n)
        if not self.images:
            object.__setattr__(self, "images", range(self.n))

    def each(self, values: NDArray[np.generic], like: Array) -> Array:
        """NumPy values of the n images, repeated for the m rows of ``like``, as an array of its kind and precision."""
        return as_rows(values, like, self.n, self.ops)


def as_rows(values: NDArray[np.generic], like: Array, n: int, ops: Ops) -> Array:
    """NumPy values of each of n images, for the rows of ``like``; row j belongs to image j % n."""
    # Further passes hold the batch several times, one whole batch behind the other.
    tiled = np.tile(values, (like.shape[0] // n, *[1] * (np.ndim(values) - 1)))
    return ops.asarray(tiled, dtype=like.dtype, device=getattr(like, "device", None))  # JAX's tracers have none
