"""How a layer's tokens reach the scores by attention: which calls are theirs, and which tokens are read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradsight.arrays import ratio
from gradsight.attention import TOKENS, Attended, AttentionCall, NoAttention
from gradsight.backends.linking import WAY_OUT, CallSeen, Linked, linked
from gradsight.cached import cached_property
from gradsight.errors import ModelError
from gradsight.foreign import Array, Inputs
from gradsight.layouts import Layout

if TYPE_CHECKING:
    from gradsight.backends.backend import ModelBackend
    from gradsight.backends.passes import ModelPass


class BlockOutput(NamedTuple):
    """An output of a layer that is a cut and has the tokens of the layer explained.

    Attributes:
        kind: of the layer: its class's name, compared with others and used for nothing else.
        composite: it has layers inside.
        after: how many calls of attention had run by then.
    """

    kind: str
    composite: bool
    after: int


def is_like(shape: Sequence[int], like: Sequence[int]) -> bool:
    """Whether an output has the tokens of another: it may differ in one axis, that of the channels."""
    return len(shape) == len(like) and sum(a != b for a, b in zip(shape, like, strict=True)) <= 1


def outputs_of_blocks(cuts: Sequence[tuple[str, BlockOutput]], numbers: Sequence[int]) -> list[str]:
    """By call, the layer that gives the output tokens of its block.

    Args:
        cuts: layers by name, in the order they ran.
        numbers: the calls, ascending.

    Raises:
        ModelError: there is no cut between two calls, or none behind the last.
    """
    found: list[tuple[str, BlockOutput]] = []
    for number, following in itertools.pairwise(numbers):
        between = [x for x in cuts if number < x[1].after <= following]
        if not between:
            raise ModelError(_NO_BLOCKS)
        found.append(between[-1])
    behind = [x for x in cuts if x[1].after > numbers[-1]]
    # Behind the last block come the final normalisation and what holds the blocks: neither is of the blocks' kind.
    alike = [x for x in behind if found and x[1].kind == found[-1][1].kind]
    likely = alike[-1:] or [x for x in behind if x[1].composite][:1] or behind[:1]
    if not likely:
        raise ModelError(_NO_BLOCKS)
    return [name for name, _ in (*found, *likely)]


_NO_BLOCKS = (
    "between two calls of this model's attention there is no layer that all the tokens pass, so that its blocks have "
    "no outputs to take a mean of. Use another method, such as 'gradientrollout'."
)


class LayerAttending:
    """`attention.Attending` of one layer in a pass, on any framework."""

    def __init__(self, shared: ModelPass[Any], leaf: str, shape: Sequence[int], layout: Layout) -> None:
        """Nothing is run.

        Args:
            shared: the pass.
            leaf: the layer's name.
            shape: of its output.
            layout: how that is laid out.
        """
        self._pass, self._leaf, self._shape, self._layout = shared, leaf, tuple(shape), layout
        self._backend, self._ops = shared.backend, shared.backend.ops

    @cached_property
    def calls(self) -> tuple[AttentionCall, ...]:
        """See `attention.Attending.calls`."""
        weights = self._seen.weights
        return tuple(
            AttentionCall(self._by_image(weights[number]), *sequences, number)
            for number, sequences in zip(self._linked.numbers, self._linked.sequences, strict=True)
        )

    @cached_property
    def gradients(self) -> tuple[Array, ...]:
        """See `attention.Attending.gradients`."""
        return tuple(self._by_target(gradient) for gradient in self._differentiated.gradients)

    @cached_property
    def read(self) -> Array:
        """See `attention.Attending.read`."""
        last = self._by_target(self._seen.gradients[-1])
        rows = self._ops.any(last != 0, axis=(2, -1))
        marks = self._ops.astype(rows, last.dtype)
        return ratio(marks, self._ops.sum(marks, axis=-1, keepdims=True), self._ops)

    @cached_property
    def formation_gradients(self) -> tuple[Array, ...]:
        """See `attention.Attending.formation_gradients`."""
        linked = zip(self._linked.numbers, self._linked.sequences, strict=True)
        numbers = [number for number, sequences in linked if sequences == (TOKENS, TOKENS)]
        key = (self._backend.kind(self._pass.inputs), self._leaf)
        known = self._backend.blocks
        blocks = known.of(key, lambda: self._backend.block_outputs(self._pass, self._shape, numbers))
        axes = (self._layout.axes[0], *self._layout.axes[2:])
        made = self._backend.formation_gradients(self._pass, axes, numbers, blocks)
        return tuple(self._by_target(gradient) for gradient in made)

    @property
    def is_sequence(self) -> bool:
        """See `attention.Attending.is_sequence`."""
        return len(self._layout.axes) - 2 < len(self._layout.grid)

    @property
    def extra(self) -> tuple[int, ...]:
        """See `attention.Attending.extra`."""
        order = self._layout.order
        if order is None:
            return tuple(range(self._layout.extra))
        return tuple(sorted(set(range(self._tokens)) - set(order)))

    def fold(self, tokens: Array) -> Array:
        """See `attention.Attending.fold`."""
        # Of values (n, k, t) as of an output (n, channels, t): extra tokens and orders are those of the layer.
        return Layout((0, 1, 2), self._layout.grid, self._layout.extra, order=self._layout.order).fold(
            tokens, self._ops
        )

    @property
    def _tokens(self) -> int:
        """How many tokens the layer has for one image."""
        if self._layout.frames:
            raise NoAttention(
                f"the rows of layer {self._leaf!r} are frames or windows of an image, {self._layout.frames} for each, "
                f"and attention within one of them says nothing of the others. {WAY_OUT}"
            )
        return math.prod(self._shape[axis] for axis in self._layout.axes[2:])

    @cached_property
    def _trial(self) -> Sequence[CallSeen]:
        inputs, trials = self._pass.inputs, self._backend.attention_trials
        return trials.of(self._backend.kind(inputs), lambda: tried(self._backend, inputs))

    @cached_property
    def _linked(self) -> Linked:
        return linked(self._trial, self._tokens, self._leaf)

    @cached_property
    def _differentiated(self) -> Attended:
        """A pass, differentiated by the weights of all calls."""
        return self._attended(self._linked.numbers)

    def _attended(self, numbers: Sequence[int]) -> Attended:
        attended = self._backend.attend(self._pass, numbers)
        ran = len(attended.weights)
        # A model may go through its images one by one: calls are counted in another way then than for one image.
        if ran != len(self._trial):
            raise ModelError(
                f"the model's attention ran {len(self._trial)} times for one image and {ran} times for "
                f"{len(self._pass.scores)}, so that its calls cannot be compared. Explain the images one by one. "
                f"{WAY_OUT}"
            )
        return attended

    @cached_property
    def _seen(self) -> Attended:
        """A pass, differentiated by those of the last call at least."""
        # What gave the gradients of all calls gives that of the last one too, if it ran already.
        known: Attended | None = vars(self).get("_differentiated")
        return known or self._attended(self._linked.numbers[-1:])

    def _by_image(self, weights: Array) -> Array:
        """Weights as the model has them, (n, heads, q, k)."""
        n, rows = len(self._pass.scores), weights.shape[0]
        if rows % n or (weights.ndim == 4 and rows != n):
            raise ModelError(
                f"an attention of this model has {rows} rows of weights for {n} image(s), so that they cannot be told "
                f"apart. Explain the images one by one. {WAY_OUT}"
            )
        return self._backend.full_precision(self._ops.reshape(weights, (n, -1, *weights.shape[-2:])))

    def _by_target(self, gradients: Array) -> Array:
        """Gradients (j, *weights) as (n, j, heads, q, k)."""
        return self._ops.stack([self._by_image(gradients[j]) for j in range(gradients.shape[0])], axis=1)


def tried(backend: ModelBackend[Any], inputs: Inputs) -> tuple[CallSeen, ...]:
    """What attention does for the first image, and which calls change with it; found out at the price of two passes."""
    first = backend.row(inputs, 0)
    # 1 - 3x differs from x everywhere but at a quarter, so that any path from the image to a call shows.
    other = backend.batches.with_image(first, 1 - 3 * backend.batches.image(first))
    with backend.unchanged(), backend.no_gradient():  # else what is remembered would be of no model
        ours = backend.attention(first)
        theirs = backend.attention(other) if ours else ours
    if len(ours) != len(theirs):
        raise ModelError(
            f"the model's attention ran {len(ours)} times for one image and {len(theirs)} times for another of the "
            f"same size, so that its calls cannot be compared. {WAY_OUT}"
        )
    return tuple(
        CallSeen(tuple(map(int, a.shape)), not np.array_equal(backend.numpy(a), backend.numpy(b)))
        for a, b in zip(ours, theirs, strict=True)
    )
