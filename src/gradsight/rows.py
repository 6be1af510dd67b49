"""How a model takes the rows of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Rows:
    """How a model takes the rows of a batch.

    Attributes:
        shared: which tensors among the inputs, counted in their order, are the same for every image. They have as many
            rows as the batch by chance, such as a factor of shape (1,) beside one image.
        apart: what an image gets depends on what is beside it in the batch, as where a normalisation takes its
            statistics from there. Then each image has to go through the model alone.
    """

    shared: frozenset[int] = frozenset()
    apart: bool = False


class CountsRows(Protocol):
    """What has something to do with how many rows pass a model."""

    @property
    def compiles_by_size(self) -> bool:
        """Whether another number of images costs another compilation of the model."""
