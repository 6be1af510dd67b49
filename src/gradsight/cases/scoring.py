"""The scores of a batch's targets for the images as they are and for others, shared by all that measure its maps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import by_copy, rounds
from gradsight.cached import cached_property
from gradsight.cases.together import Together
from gradsight.contracts import Backend, Floats, Pass, Probe
from gradsight.errors import InvalidArgument
from gradsight.foreign import Array, Ops, Outputs
from gradsight.targets import Reading, ScoreSpec
from gradsight.targets.resolved import Column, Term

Value = TypeVar("Value")

Scale = Literal["logit", "probability"]
"""What is scored."""

Level = float | NDArray[np.floating]
"""The value of one colour in the model's own units: a number, or (c, 1, 1), one for each channel."""


class Scoring:
    """How the model scores the k targets of a batch of n images, and of other images in their place.

    Scores are logits, or probabilities where the target is one class and the model's reading says how they become so:
    by a softmax over the classes or a sigmoid. A target that is no class (a difference, pixels, a function) has no
    probability, and its score itself is taken. Of a model that gives probabilities itself both are what it gives.

    Rows pass the model ``probe.batch_size`` at a time, one batch at least, and without a graph. What does not depend on
    a map is computed once, and kept for all that share this value.

    Attributes:
        probe: the model's input, seen as a layer.
        ops: array functions.
        black, white: these colours in the model's own units; 0 and 1 where nobody knows them, see `cases.ends`.
        seed: of whatever is drawn. It is the same for every image, so that a figure does not depend on the batch.
        rows: how many rows went through the model so far, beyond the pass itself.
        together: the methods that are measured with these scores, which look at other images together.
    """

    def __init__(
        self,
        probe: Probe,
        ops: Ops,
        numpy: Callable[[Array], Floats],
        reading: Reading,
        classes: Callable[[Outputs], Array | None],
        ends: tuple[Level, Level] = (0.0, 1.0),
        seed: int = 0,
    ) -> None:
        """Score other images in the place of those of a pass; ``classes`` finds class scores in an output."""
        self.probe, self.ops = probe.image, ops
        self.numpy, self._reading, self._classes = numpy, reading, classes
        self.black, self.white = ends
        self.seed, self.rows = seed, 0
        self.together = Together()
        self._kept: dict[Hashable, object] = {}

    @classmethod
    def of(cls, shared: Pass, backend: Backend, *, ends: tuple[Level, Level] = (0.0, 1.0), seed: int = 0) -> Scoring:
        """That of a pass of a model; the caller sees that nobody changes its weights meanwhile (`Backend.unchanged`).

        Raises:
            InvalidArgument: the images of a batch influence each other, and there are several.
        """
        if len(shared.scores) > 1 and shared.rows.apart:
            raise InvalidArgument(
                f"`shared` must be a pass of one image, since in this model what an image scores depends on what is "
                f"beside it. Received: {len(shared.scores)} images. Measure them one by one."
            )
        reading = backend.reading(shared.outputs)
        return cls(shared.image, backend.ops, backend.numpy, reading, backend.scores_in, ends, seed)

    @property
    def images(self) -> Array:
        """The images as the model got them, (n, c, *positions)."""
        return self.probe.activations

    @property
    def size(self) -> tuple[int, ...]:
        """The positions of the images."""
        return tuple(self.images.shape[2:])

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k): images and targets."""
        return cast("tuple[int, int]", tuple(self.probe.scores.shape))

    def kept(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What does not depend on a map, computed once for all cases of the batch."""
        # No lock: a case is measured by one thread.
        if key not in self._kept:
            self._kept[key] = make()
        return cast("Value", self._kept[key])

    def unchanged(self, scale: Scale = "logit") -> NDArray[np.float64]:
        """(n, k): the scores of the images as they are. They cost no pass."""
        return self.kept(("unchanged", scale), lambda: self.scaled(self._first, scale))

    def random(self, *salt: int) -> np.random.Generator:
        """Random numbers by the seed; those of another ``salt`` are others."""
        # A generator of its own each time: a figure does not depend on what was drawn before it.
        return np.random.default_rng((self.seed, *salt))

    def scores(self, images: Array, scale: Scale = "logit") -> NDArray[np.float64]:
        """The scores of other images at once: (r * n, c, *positions) -> (r, n, k); row j is in the place of j % n."""
        return self.scaled(self.raw(images), scale)

    def raw(self, images: Array) -> NDArray[np.float64]:
        """The same for both scales at once, (r, n, k or k + 1), of which `scaled` makes either."""
        self.rows += len(images)
        return np.asarray(by_copy(self.numpy(self._whole.tail(images)).astype(np.float64), self.shape[0], np))

    def over(self, count: int, make: Callable[[range], Array], scale: Scale = "logit") -> NDArray[np.float64]:
        """The scores of ``count`` versions of the batch, some at a time: (count, n, k).

        Args:
            count: how many versions.
            make: from a range of r versions to their images, (r * n, c, *positions).
            scale: what is scored.
        """
        n, k = self.shape
        parts = [self.scores(make(some), scale) for some in rounds(count, n, self.probe.batch_size)]
        return np.concatenate([np.zeros((0, n, k)), *parts])

    def by_target(
        self, count: int, make: Callable[[Sequence[tuple[int, int]]], Array], scale: Scale = "logit"
    ) -> NDArray[np.float64]:
        """The scores of ``count`` versions of the batch that differ by target, some at a time: (count, n, k).

        Args:
            count: how many versions of the batch each target has.
            make: from r pairs (version, target) to their images, (r * n, c, *positions).
            scale: what is scored.
        """
        n, k = self.shape
        pairs = list(np.ndindex(count, k))
        rows = self.over(len(pairs), lambda some: make([pairs[i] for i in some]), scale)
        # A version that was made for one target is scored by that target alone.
        own = np.arange(k)
        return np.moveaxis(rows.reshape(count, k, n, k)[:, own, :, own], 0, 2)

    @cached_property
    def _first(self) -> NDArray[np.float64]:
        """The raw scores of the images as they are, (n, k), or (n, k + 1) as `_whole` gives them."""
        scores = self.numpy(self.probe.scores).astype(np.float64)
        if not self._softmax:
            return scores
        return np.concatenate([scores, _log_sum(self.probe.logits, np)[:, None]], axis=1)

    @cached_property
    def _plain(self) -> NDArray[np.bool_]:
        """(k,): which targets are one class and nothing else, and so have a probability."""
        return np.array([_is_class(column) for column in self.probe.targets.columns])

    @property
    def _softmax(self) -> bool:
        reading = self._reading
        softmax = reading.activation == "softmax" and not reading.gives and self.probe.logits is not None
        return bool(softmax and self._plain.any())

    @cached_property
    def _whole(self) -> Probe:
        """The probe with one score more, where probabilities need it: the logarithm of the softmax's denominator."""
        if not self._softmax:
            return self.probe
        targets, classes, ops = self.probe.targets, self._classes, self.ops

        # It must not hold this value, which holds it: both, and their passes, would stay until the garbage collector
        # comes, which does not know how large an array is.
        def denominator(outputs: Outputs) -> Array:
            # Here and not from all the logits afterwards: a thousand classes would be copied for each row.
            return _log_sum(classes(outputs), ops)

        names = tuple((*row, row[0]) for row in targets.names)
        return self.probe.with_targets(ScoreSpec(names, (*targets.columns, (Term(function=denominator, by_row=True),))))

    def scaled(self, raw: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """What `raw` gave (..., k or k + 1) as logits or probabilities, (..., k)."""
        k = self.shape[1]
        scores = raw[..., :k]
        reading = self._reading
        if scale != "probability" or reading.gives or not reading.activation or self.probe.logits is None:
            return scores
        # A score far below zero overflows on its way to the probability 0 that it has.
        with np.errstate(over="ignore"):
            shares = np.exp(scores - raw[..., k:]) if self._softmax else 1 / (1 + np.exp(-scores))
        return np.where(self._plain, shares, scores)


def _log_sum(logits: Array, ops: Ops) -> Array:
    """The logarithm of the sum of exponentials, (m, classes) -> (m,)."""
    highest = ops.max(logits, axis=-1, keepdims=True)
    return ops.log(ops.sum(ops.exp(logits - highest), axis=-1)) + highest[:, 0]


def _is_class(column: Column) -> bool:
    return len(column) == 1 and column[0].classes is not None and bool(np.all(column[0].factor == 1))
