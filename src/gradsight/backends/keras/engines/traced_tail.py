"""The tail of a layer in a TensorFlow graph: for other outputs of the layer, and for some of its channels off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import tensorflow as tf

from gradsight.backends.ablation import Ablation
from gradsight.backends.keras.ops import is_undifferentiated
from gradsight.foreign import Array, Outputs

Part: TypeAlias = Callable[[Sequence[Array]], Sequence[Array]]
"""A part of a graph, from the values that are fed to those that are fetched."""


@dataclass(frozen=True)
class TailGraph:
    """What a model computes from a leaf on.

    Attributes:
        leaf: it, as a symbol.
        crossing: the tensors that it takes in besides the leaf, as symbols.
        stem: from the inputs to those.
        behind: from the leaf and those to the outputs.
        differentiable: the same, for tapes.
        inlined: the same, in the current graph.
        packed: makes outputs of their tensors.
        ablated: the graphs for channels that are off, by whether something of the leaf stays all the same.
    """

    leaf: Array
    crossing: list[Array]
    stem: Part
    behind: Part
    differentiable: Part
    inlined: Part
    packed: Callable[[list[Array]], Outputs]
    ablated: dict[bool, Callable[..., Sequence[Array]]] = field(default_factory=dict)

    def repeated(self, bypasses: Sequence[Array], times: int | Array) -> list[Array]:
        """What crosses, as often: what counts images is known by its open number of rows; the rest is the same."""
        return [
            tf.tile(x, tf.stack([times, *[1] * (node.shape.rank - 1)]))
            if node.shape.rank and node.shape[0] is None
            else x
            for node, x in zip(self.crossing, bypasses, strict=True)
        ]

    def with_mask(self, off: tf.TensorSpec, *, stays: bool) -> Callable[..., Sequence[Array]]:
        """A graph ``(off, raw, [blank,] *bypasses) -> outputs`` that switches channels off."""

        def run(off: Array, *values: Array) -> Sequence[Array]:
            raw, blank = values[0], values[1] if stays else None
            rows = tf.reshape(_without(off, raw, blank), tf.concat([[-1], tf.shape(raw)[1:]], axis=0))
            rows.set_shape((None, *self.leaf.shape[1:]))
            return list(self.inlined([rows, *self.repeated(values[1 + stays :], tf.shape(off)[0])]))

        specs = [tf.TensorSpec(x.shape, x.dtype) for x in (*[self.leaf] * (1 + stays), *self.crossing)]
        graph: Callable[..., Sequence[Array]] = tf.compat.v1.wrap_function(run, [off, *specs])
        return graph


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

    def ablated(self, ablation: Ablation) -> Outputs:
        """The outputs where channels are off."""
        off, stays = tf.constant(ablation.off()), ablation.blank is not None
        if stays not in self.graph.ablated:
            spec = tf.TensorSpec((None, *off.shape[1:]), off.dtype)
            self.graph.ablated[stays] = self.graph.with_mask(spec, stays=stays)
        values = [ablation.raw, ablation.blank] if stays else [ablation.raw]
        return self.graph.packed(list(self.graph.ablated[stays](off, *values, *self.bypasses)))


def _without(off: Array, raw: Array, blank: Array | None) -> Array:
    """By group of channels (m, n, ...), the leaf without them."""
    # A product takes half the time of a choice, where what is off is 0.
    return raw[None] * tf.cast(~off, raw.dtype) if blank is None else tf.where(off, blank[None], raw[None])
