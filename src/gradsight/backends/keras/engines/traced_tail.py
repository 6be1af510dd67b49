"""The tail of a layer in a TensorFlow graph: for other outputs of the layer, and for some of its channels off."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from gradsight.backends.ablation import Ablation
from gradsight.backends.keras.engines.channels_apart import Point, last_apart, size_behind
from gradsight.backends.keras.ops import is_undifferentiated
from gradsight.foreign import Array, Outputs

Part: TypeAlias = Callable[[Sequence[Array]], Sequence[Array]]
"""A part of a graph, from the values that are fed to those that are fetched."""


class Masked(NamedTuple):
    """A tail that switches channels off.

    Attributes:
        graph: ``(off, raw, [blank,] *bypasses) -> outputs``, with ``off`` of (m, c).
        rounds: so many rounds of it hold no more numbers than one round of the leaf.
    """

    graph: Callable[..., Sequence[Array]]
    rounds: int


@dataclass(frozen=True)
class TailGraph:
    """What a model computes from a leaf on.

    Attributes:
        leaf: it, as a symbol.
        crossing: the tensors that it takes in besides the leaf, as symbols.
        stem: from the inputs to those.
        behind: from the leaf and those to the outputs.
        differentiable: the same, for tapes.
        computed: some tensors of others, with values of those, in the current graph.
        results: the tensors of the outputs, as symbols.
        packed: makes outputs of their tensors.
        masked: what switches channels off, by their axis, and whether something of the leaf stays all the same.
    """

    leaf: Array
    crossing: list[Array]
    stem: Part
    behind: Part
    differentiable: Part
    computed: Callable[[Sequence[Array], Sequence[Array], Sequence[Array]], list[Array]]
    results: list[Array]
    packed: Callable[[list[Array]], Outputs]
    masked: dict[tuple[int, bool], Masked] = field(default_factory=dict)

    def repeated(self, bypasses: Sequence[Array], times: int | Array) -> list[Array]:
        """What crosses, as often: what counts images is known by its open number of rows; the rest is the same."""
        return [
            tf.tile(x, tf.stack([times, *[1] * (node.shape.rank - 1)]))
            if node.shape.rank and node.shape[0] is None
            else x
            for node, x in zip(self.crossing, bypasses, strict=True)
        ]

    def with_mask(self, channels: int, *, stays: bool) -> Masked:
        """What switches channels off, which ``channels`` counts; ``stays`` if something of the leaf stays all the same.

        They are off where they last are apart: what comes before is the same for all rows of an image.
        """
        apart = last_apart(Point(self.leaf, channels), self.results)
        point, axis = apart

        def run(off: Array, raw: Array, *values: Array) -> Sequence[Array]:
            blank = values[0] if stays else tf.zeros_like(raw)
            kept, gone = (self.computed([self.leaf], [x], [point])[0] for x in (raw, blank))
            shape = [tf.shape(off)[0], *[1] * point.shape.rank]
            shape[axis + 1] = -1
            rows = _chosen(tf.reshape(off, shape), gone, kept, is_product=point is self.leaf and not stays)
            rows = tf.reshape(rows, tf.concat([[-1], tf.shape(kept)[1:]], axis=0))
            rows.set_shape((None, *point.shape[1:]))
            bypasses = self.repeated(values[stays:], tf.shape(off)[0])
            return self.computed([point, *self.crossing], [rows, *bypasses], self.results)

        off = tf.TensorSpec((None, None), tf.bool)
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in (*[self.leaf] * (1 + stays), *self.crossing)]
        size, sizes = size_behind(apart, self.results), self.leaf.shape[1:]
        at_once = 1 if not size or None in sizes else max(1, math.prod(sizes) // size)
        return Masked(tf.compat.v1.wrap_function(run, [off, *specs]), at_once)


@dataclass(frozen=True)
class TracedTail:
    """The tail of a layer in one pass.

    Attributes:
        graph: it.
        bypasses: what crosses into it in this pass.
    """

    graph: TailGraph
    bypasses: Sequence[Array]

    def __call__(self, raw: Array, times: int) -> Outputs:
        """The outputs with ``raw`` in the place of the leaf."""
        behind = self.graph.behind if is_undifferentiated() else self.graph.differentiable
        return self.graph.packed(list(behind([raw, *self.graph.repeated(self.bypasses, times)])))

    def rounds_at_once(self, ablation: Ablation) -> int:
        """How many rounds of an ablation hold no more numbers than one round of the leaf."""
        return self._masked(ablation).rounds

    def ablated(self, ablation: Ablation) -> Outputs:
        """The outputs where channels are off."""
        off = ablation.off()
        known = [ablation.raw] if ablation.blank is None else [ablation.raw, ablation.blank]
        values = (tf.constant(off.reshape(len(off), -1)), *known, *self.bypasses)
        return self.graph.packed(list(self._masked(ablation).graph(*values)))

    def _masked(self, ablation: Ablation) -> Masked:
        kind = channels, stays = ablation.channels, ablation.blank is not None
        if kind not in self.graph.masked:
            self.graph.masked[kind] = self.graph.with_mask(channels, stays=stays)
        return self.graph.masked[kind]


def _chosen(off: Array, gone: Array, kept: Array, *, is_product: bool) -> Array:
    """By group of channels (m, n, ...), what is gone and what is kept; a product where the former is 0."""
    # It takes half the time of a choice.
    return kept[None] * tf.cast(~off, kept.dtype) if is_product else tf.where(off, gone[None], kept[None])
