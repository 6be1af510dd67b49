"""A layer's output with some of its channels switched off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradsight.arrays import rounds
from gradsight.foreign import Array, Ops
from gradsight.layouts import Layout


@dataclass(frozen=True)
class Ablation:
    """Groups of channels, each of which is switched off by itself, in the layer's own layout.

    Attributes:
        raw: the layer's output.
        blank: what it is where a channel is off; None for 0. Tokens that are no position stay what they are.
        axis: which axis counts images, or what they are made of.
        channels: which axis counts channels.
        groups: numbers of channels, (m, g).
    """

    raw: Array
    blank: Array | None
    axis: int
    channels: int
    groups: NDArray[np.intp]

    @classmethod
    def of(cls, raw: Array, folded: Array, layout: Layout, groups: NDArray[np.intp], ops: Ops) -> Ablation:
        """Of a layer's output, ``raw`` as it is laid out and ``folded`` to (n, c, *grid)."""
        blank = None
        if math.prod(folded.shape) < math.prod(raw.shape):
            blank = ops.astype(layout.unfold(ops.zeros_like(folded), raw, ops), raw.dtype)
        return cls(raw, blank, layout.axes[0], layout.channel_axis, groups)

    def by_round(self, images: int, batch_size: int) -> Iterator[Ablation]:
        """So many groups at once that with each image they make ``batch_size`` rows at most; one group at least."""
        for some in rounds(len(self.groups), images, batch_size):
            yield replace(self, groups=self.groups[some.start : some.stop])

    @staticmethod
    def joined(rounds: Sequence[Ablation]) -> Ablation:
        """Several rounds of one ablation as one; at least one."""
        return replace(rounds[0], groups=np.concatenate([each.groups for each in rounds]))

    @property
    def across(self) -> int:
        """Which axis counts channels once one for groups has come before that of the images."""
        return self.channels + (self.channels > self.axis)

    def off(self) -> NDArray[np.bool_]:
        """What is off, with an axis for groups before that of the images; as long as it differs, else 1."""
        off = np.zeros((len(self.groups), self.raw.shape[self.channels]), bool)
        off[np.arange(len(off))[:, None], self.groups] = True
        shape = [1] * (self.raw.ndim + 1)
        shape[self.axis], shape[self.across] = off.shape
        return (off if self.axis < self.across else off.T).reshape(shape)

    def rows(self, ops: Ops) -> Array:
        """The layer's output for all groups, one after the other: row j belongs to row j % n."""
        raw = ops.expand_dims(self.raw, axis=self.axis)
        blank = ops.zeros_like(raw) if self.blank is None else ops.expand_dims(self.blank, axis=self.axis)
        rows = ops.where(ops.asarray(self.off(), device=getattr(self.raw, "device", None)), blank, raw)
        sizes = self.raw.shape
        return ops.reshape(rows, (*sizes[: self.axis], -1, *sizes[self.axis + 1 :]))
