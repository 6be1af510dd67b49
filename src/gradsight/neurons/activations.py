"""Activations of many photos, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import ImageError, InvalidArgument, ModelError
from gradsight.imaging import Placement, nan_to_zero, read_image

_KEPT = 1 << 28
"""At most so many bytes of activations are kept for a second reading. The other photos pass the model again."""


class Activations(NamedTuple):
    """One layer's output for a batch of photos.

    Attributes:
        layer: the layer's name.
        values: (n, c, h, w) float32.
        placements: where the model's input lies on each photo.
    """

    layer: str
    values: NDArray[np.float32]
    placements: tuple[Placement, ...]


ActivationFn = Callable[[Sequence[Image.Image]], Activations]
"""One forward pass of a few photos."""


class Batches:
    """The activations of photos. Each iteration reads the photos and passes them through the model, a batch at a time.

    Args:
        forward: the forward pass.
        paths: the photos.
        batch_size: how many of them are in memory at once.
        failed: called with the error of a photo that cannot be read, which is then left out; None raises it.
    """

    def __init__(
        self,
        forward: ActivationFn,
        paths: Sequence[Path],
        batch_size: int,
        failed: Callable[[ImageError], None] | None = None,
    ) -> None:
        self._forward, self._paths, self._batch_size, self._failed = forward, paths, batch_size, failed
        self._kept: list[tuple[list[int], Activations]] = []
        self._grid: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[tuple[list[int], Activations]]:
        """For each batch: the numbers of its paths, and the layer's output.

        Raises:
            ImageError: a photo cannot be read.
            GradsightError: the layer has no rows and columns, or not the same for all photos.
        """
        # Dissection reads all photos twice. What fits into memory passes the model once.
        yield from self._kept
        first = sum(len(which) for which, _ in self._kept)
        held = sum(activations.values.nbytes for _, activations in self._kept)
        for start in range(first, len(self._paths), self._batch_size):
            batch = list(self._read(range(start, min(start + self._batch_size, len(self._paths)))))
            if not batch:
                continue
            which = [i for i, _ in batch]
            activations = self._checked(self._forward([photo for _, photo in batch]))
            held += activations.values.nbytes
            # Without gaps from the first on: a photo that failed would be counted wrongly above.
            if self._failed is None and held <= _KEPT:
                self._kept.append((which, activations))
            yield which, activations

    def _read(self, which: range) -> Iterator[tuple[int, Image.Image]]:
        for i in which:
            try:
                yield i, read_image(self._paths[i])
            except ImageError as error:
                if self._failed is None:
                    raise
                self._failed(error)

    def _checked(self, output: Activations) -> Activations:
        shape = output.values.shape
        if len(shape) != 4:
            raise ModelError(
                f"layer {output.layer!r} has {len(shape) - 2} axes of positions; what its channels detect in photos is "
                "told by rows and columns. Name a layer that has them: explainer.layers(photo) lists them."
            )
        grid = self._grid = self._grid or shape[1:]
        if shape[1:] != grid:
            raise InvalidArgument(
                f"the photos become pictures of several sizes, since this model takes each in its own proportions: "
                f"{output.layer!r} has {grid[1]} x {grid[2]} positions in one, {shape[2]} x {shape[3]} in another. "
                "Replace the fit: fit='letterbox'."
            )
        return output._replace(values=nan_to_zero(output.values))
