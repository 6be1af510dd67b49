"""Parts of a gradient: what is zero outside of some rows and channels is neither stored nor multiplied."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gradsight.backends.torch.outer import Outer, Unsplit

Index: TypeAlias = NDArray[np.intp] | None
"""Places along an axis, rising; None for all of them."""


class Refused(Exception):
    """A part of a gradient cannot be carried on as one."""


@dataclass(frozen=True)
class Part:
    """The gradients of k scores by one tensor, which are zero outside of a box.

    Attributes:
        numbers: (k, *box).
        shape: that of the whole tensor.
        at: for each axis, where the box lies.
    """

    numbers: torch.Tensor | Outer
    shape: tuple[int, ...]
    at: tuple[Index, ...]

    @property
    def value(self) -> torch.Tensor:
        """(k, *box)."""
        return self.numbers.dense() if isinstance(self.numbers, Outer) else self.numbers

    @property
    def size(self) -> int:
        """How many numbers it is made of, for each score."""
        if isinstance(self.numbers, Outer):
            return self.numbers.left[0].numel() + self.numbers.right[0].numel()
        return self.numbers[0].numel()

    @property
    def is_whole(self) -> bool:
        """The box is the whole tensor."""
        return all(index is None for index in self.at)

    def dense(self) -> torch.Tensor:
        """The whole gradients, (k, *shape)."""
        value = self.value
        # Nothing to fill up: the common case once a gradient has spread over all rows.
        if self.is_whole:
            return value
        whole = value.new_zeros((len(value), *self.shape))
        where: tuple[slice | torch.Tensor, ...] = (slice(None), *_grid(self.at, self.shape, whole.device))
        whole[where] = value
        return whole

    def held(self, tensor: torch.Tensor) -> torch.Tensor:
        """What a tensor, which may be spread over the whole one, has in the box."""
        # From the end, as broadcasting lines axes up.
        for axis in range(-1, -1 - tensor.ndim, -1):
            if tensor.shape[axis] != 1:
                tensor = taken(tensor, axis, self.at[axis])
        return tensor


def whole(value: torch.Tensor) -> Part:
    """All of the gradients, (k, *shape)."""
    return Part(value, tuple(value.shape[1:]), (None,) * (value.ndim - 1))


def taken(tensor: torch.Tensor, axis: int, index: Index) -> torch.Tensor:
    """Some places along an axis; a view where they have one distance."""
    if index is None:
        return tensor
    # A slice is a view; the class token's row alone, or every patch but it, are slices.
    first, step = int(index[0]), int(index[1] - index[0]) if len(index) > 1 else 1
    if np.array_equal(index, first + step * np.arange(len(index))):
        places = (slice(None),) * (axis % tensor.ndim)
        return tensor[(*places, slice(first, int(index[-1]) + 1, step))]
    return tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))


def reshaped(part: Part, shape: Sequence[int]) -> Part:
    """The part of the same numbers in another shape.

    Raises:
        Refused: the box would be none.
    """
    at: list[Index] = []
    for old, new in _groups(part.shape, tuple(shape)):
        sizes = [part.shape[i] for i in old]
        at += _split(_joined([part.at[i] for i in old], sizes), [shape[i] for i in new])
    box = [size if index is None else len(index) for size, index in zip(shape, at, strict=True)]
    try:
        numbers = part.numbers.reshape(len(part.numbers), *box)
    except Unsplit:  # the two sides of the product do not fall apart along these axes
        numbers = part.value.reshape(len(part.numbers), *box)
    return Part(numbers, tuple(shape), tuple(at))


def united(parts: Iterable[Part]) -> list[Part]:
    """The same gradients in fewer parts: those that lie apart along one axis at most become one."""
    kept: list[Part] = []
    for part in parts:
        for i, other in enumerate(kept):
            if isinstance(part.numbers, Outer) or isinstance(other.numbers, Outer):
                continue  # the sum would be no outer product
            apart = [a for a, (x, y) in enumerate(zip(part.at, other.at, strict=True)) if not _same(x, y)]
            if len(apart) <= 1:
                kept[i] = _sum(other, part, apart[0] if apart else None)
                break
        else:
            kept.append(part)
    return kept


def _sum(first: Part, second: Part, axis: int | None) -> Part:
    if axis is None:
        return Part(first.value + second.value, first.shape, first.at)
    size, indices = first.shape[axis], (first.at[axis], second.at[axis])
    full = any(index is None for index in indices)
    both = np.unique(np.concatenate([_places(index, size) for index in indices]))
    value = first.value.new_zeros([len(both) if i == axis + 1 else s for i, s in enumerate(first.value.shape)])
    for part, index in zip((first, second), indices, strict=True):
        taken_at = np.searchsorted(both, _places(index, size))
        value.index_add_(axis + 1, torch.from_numpy(taken_at).to(value.device), part.value)
    index = None if full or len(both) == size else both
    return Part(value, first.shape, (*first.at[:axis], index, *first.at[axis + 1 :]))


def _same(first: Index, second: Index) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _places(index: Index, size: int) -> NDArray[np.intp]:
    return np.arange(size) if index is None else index


def _grid(at: Sequence[Index], shape: Sequence[int], device: torch.device) -> list[torch.Tensor]:
    """An index of the box for each axis, spread against the others."""
    places = np.ix_(*(_places(index, size) for index, size in zip(at, shape, strict=True)))
    return [torch.from_numpy(x).to(device) for x in places]


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Which axes of two shapes of the same numbers belong together: the shortest runs with the same product."""
    i = j = 0
    while i < len(old) or j < len(new):
        ours: list[int] = []
        theirs: list[int] = []
        size = other = 1
        while not (ours or theirs) or size != other:
            if size <= other and i < len(old):
                size *= old[i]
                ours.append(i)
                i += 1
            else:
                other *= new[j]
                theirs.append(j)
                j += 1
        while i < len(old) and old[i] == 1:  # axes of one place belong anywhere
            ours.append(i)
            i += 1
        while j < len(new) and new[j] == 1:
            theirs.append(j)
            j += 1
        yield ours, theirs


def _joined(at: Sequence[Index], sizes: Sequence[int]) -> Index:
    """Where a box lies along the one axis that several become."""
    if all(index is None for index in at):
        return None
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    index = np.zeros(1, dtype=np.intp)
    for places, size, stride in zip(at, sizes, strides, strict=True):
        index = (index[:, None] + stride * _places(places, size)).reshape(-1)
    return index


def _split(index: Index, sizes: Sequence[int]) -> list[Index]:
    """Where a box lies along the several axes that one becomes."""
    if index is None or not sizes:
        return [None] * len(sizes)
    if len(sizes) == 1:
        return [index]
    places = [np.unique(x) for x in np.unravel_index(index, tuple(sizes))]
    if math.prod(map(len, places)) != len(index):
        raise Refused
    return [None if len(x) == size else x for x, size in zip(places, sizes, strict=True)]
