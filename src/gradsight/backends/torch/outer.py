"""Gradients that are sums of few outer products, kept as their factors.

What few rows of an attention give to its keys and values is one: of how much each row takes of each token, and of what
each row is by channels. Times the weight that made the keys or values, the factor of the channels is all that has to be
multiplied.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradsight.backends.torch.shapes import groups


class Unsplit(Exception):
    """Factors cannot be brought into a shape."""


@dataclass(frozen=True)
class Outer:
    """Numbers (k, *shape): the product of two tensors, summed over their last axis.

    Attributes:
        left, right: (k, *atoms, rank) each, with one place along the axes where it is the same everywhere.
        runs: how many atoms each axis of ``shape`` is made of.
    """

    left: torch.Tensor
    right: torch.Tensor
    runs: tuple[int, ...]

    def __len__(self) -> int:
        return max(len(self.left), len(self.right))

    @property
    def dtype(self) -> torch.dtype:
        """The precision."""
        return self.left.dtype

    @property
    def atoms(self) -> list[int]:
        """The lengths of the axes that the axes are made of."""
        return [max(pair) for pair in zip(self.left.shape[1:-1], self.right.shape[1:-1], strict=True)]

    @property
    def shape(self) -> torch.Size:
        """(k, *shape)."""
        atoms = self.atoms
        return torch.Size([len(self), *(math.prod(atoms[start:stop]) for start, stop in self._bounds())])

    def dense(self) -> torch.Tensor:
        """The numbers."""
        axes = string.ascii_lowercase[: self.left.ndim]
        return torch.einsum(f"{axes},{axes}->{axes[:-1]}", self.left, self.right).reshape(self.shape)

    def to(self, dtype: torch.dtype) -> Outer:
        """In another precision."""
        return Outer(self.left.to(dtype), self.right.to(dtype), self.runs)

    def permute(self, *order: int) -> Outer:
        """With the axes in another order; the first stays."""
        bounds = self._bounds()
        atoms = [i + 1 for axis in order[1:] for i in range(*bounds[axis - 1])]
        moved = (0, *atoms, self.left.ndim - 1)
        return Outer(self.left.permute(moved), self.right.permute(moved), tuple(self.runs[i - 1] for i in order[1:]))

    def unsqueeze(self, axis: int) -> Outer:
        """With one more axis, of one place; not the first."""
        place = 1 + sum(self.runs[: axis - 1])
        runs = (*self.runs[: axis - 1], 1, *self.runs[axis - 1 :])
        return Outer(self.left.unsqueeze(place), self.right.unsqueeze(place), runs)

    def reshape(self, *shape: int) -> Outer:
        """The same numbers in another shape; the first axis stays.

        Raises:
            Unsplit: an axis would be parts of several.
        """
        atoms = [(i, size) for i, size in enumerate(self.atoms) if size != 1]
        sizes: list[tuple[int | None, int]] = []  # of each new atom the old one that it is of, and its length
        runs: list[int] = []
        for ours, theirs in groups([size for _, size in atoms], shape[1:]):
            long = [j for j in theirs if shape[j + 1] != 1]
            if len(long) > 1 and len(ours) > 1:
                raise Unsplit
            for j in theirs:
                if j not in long:
                    made: list[tuple[int | None, int]] = [(None, 1)]
                elif len(long) == 1:
                    made = [atoms[i] for i in ours]
                else:
                    made = [(atoms[ours[0]][0], shape[j + 1])]
                sizes += made
                runs.append(len(made))
        return Outer(_spread(self.left, sizes), _spread(self.right, sizes), tuple(runs))

    def weighed(self, weight: torch.Tensor) -> torch.Tensor:
        """The dense product of the last axis with a weight (m, last): (k, *shape[:-1], m)."""
        letters = string.ascii_lowercase
        atoms, split = self.atoms, sum(self.runs[:-1])
        rows, columns = letters[:split], letters[split : len(atoms)]
        # Those of the left factor's columns that vary are left for the second product, as the heads are.
        late = [letter for i, letter in enumerate(columns, split + 1) if self.left.shape[i] != 1]
        right = f"Z{rows}{columns}Y"
        kept = f"Z{rows}{''.join(late)}Y"
        by_row = torch.einsum(f"{right},X{columns}->{kept}X", self.right, weight.reshape(len(weight), *atoms[split:]))
        left = self.left.reshape([s for i, s in enumerate(self.left.shape) if not split < i <= len(atoms) or s != 1])
        product = torch.einsum(f"{kept},{kept}X->Z{rows}X", left, by_row)
        return product.reshape(*self.shape[:-1], len(weight))

    def _bounds(self) -> list[tuple[int, int]]:
        """Of each axis, its first atom and the one behind its last."""
        return [(sum(self.runs[:i]), sum(self.runs[: i + 1])) for i in range(len(self.runs))]


def _spread(factor: torch.Tensor, sizes: Sequence[tuple[int | None, int]]) -> torch.Tensor:
    """A factor with these atoms; it has one place still where it had one."""
    lengths = [1 if atom is None or factor.shape[atom + 1] == 1 else size for atom, size in sizes]
    return factor.reshape(factor.shape[0], *lengths, factor.shape[-1])


def outer(left: torch.Tensor, right: torch.Tensor) -> Outer | torch.Tensor:
    """The product of two factors, (k, *shape, rank) each, summed over the last axis: as they are, if that is less."""
    product = Outer(left, right, (1,) * (left.ndim - 2))
    return product if left.numel() + right.numel() < math.prod(product.shape) else product.dense()
