"""A class of a segmentation, in a region of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight import rules
from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.foreign import Array, Outputs
from gradsight.rules import Box, Each, Number
from gradsight.targets.class_names import check_fit
from gradsight.targets.context import Floats, OutputContext, TargetInfo
from gradsight.targets.labels import AClass, class_index, class_name
from gradsight.targets.resolved import ScoreSpec, of_function


@dataclass(frozen=True, eq=False)
class Pixels:
    """The evidence for a class in a region of a segmentation: the mean of its logit there (Seg-Grad-CAM, eq. 2).

    Positions are those of the original photo, (row, column) in pixels, or of the model's input where a batch was given.
    A region is weighed by how much of it lies in each cell of the model's output.

    Vinogradova, Dibrov and Myers, "Towards interpretable semantic segmentation via gradient-weighted class activation
    mapping", arXiv:2002.11434; there the logits are added up.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
    >>> model = torch.nn.Sequential(features, torch.nn.Conv2d(8, 4, 1)).eval()
    >>> target = gs.Pixels("road", box=(4, 0, 8, 8))  # the lower half
    >>> gs.Explainer(model, labels=["sky", "road", "car", "tree"])(torch.rand(1, 3, 8, 8), targets=target).labels
    (('road in 4,0,8,8',),)

    Attributes:
        which: the class, an index or a label.
        mask: true, or weights of at least 0, at the region's pixels: (height, width). One for all images, or one for
            each, (n, height, width).
        box: (top, left, bottom, right), the latter two exclusive.
        point: (row, column), one pixel.
        None of these: the whole picture.

    Raises:
        InvalidArgument: more than one of them, or an empty region.
        InvalidType: the class is none.
    """

    which: int | str
    mask: Array = None
    box: Sequence[float] | None = None
    point: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("mask", "box", "point") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InvalidArgument(f"Pixels takes one of mask, box and point. Received: {' and '.join(given)}.")
        point = Each(Number(-1e9, 1e9), (2,), words="2 numbers, (row, column)")
        # Read before it is compared: it may be a tensor on a GPU, or a list.
        mask = optional("`mask` of Pixels", self.mask, _MASK)
        if mask is not None and not (np.isfinite(mask).all() and (mask >= 0).all() and mask.any()):
            raise InvalidArgument(f"`mask` of Pixels must be {_MASK.rule}. Received: values that are not.")
        object.__setattr__(self, "which", taken("`which` of Pixels", self.which, AClass()))
        object.__setattr__(self, "box", optional("`box` of Pixels", self.box, Box()))
        object.__setattr__(self, "point", optional("`point` of Pixels", self.point, point))
        object.__setattr__(self, "mask", mask)

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        dense = context.dense(context.outputs)
        if dense is None:
            raise ModelError(
                "Pixels can be explained where the model gives class scores at positions, (n, classes, rows, columns); "
                f"it gives {context.described}. Pass a class, or a function outputs -> (n,)."
            )
        check_fit(context.labels, int(dense.shape[1]))
        index = class_index(self.which, context.labels, int(dense.shape[1]))
        # In NumPy and once: the region does not change with the outputs of further passes.
        weights = np.zeros((context.n, *dense.shape[2:]), np.float32)
        for i in context.images:
            weights[i] = self._weights(context, i, tuple(dense.shape[2:]))

        def score(outputs: Outputs) -> Array:
            values = context.dense(outputs)[:, index]
            return context.ops.sum(values * context.each(weights, values), axis=(1, 2))

        name = TargetInfo(
            index, f"{class_name(index, context.labels)}{self._words()}", place=tuple(self._sides() or ())
        )
        return of_function(score, [name] * context.n)

    def _words(self) -> str:
        """The region in words, after the class."""
        if self.mask is not None:
            return " in a mask"
        numbers = self.box or self.point or ()
        where = "in" if self.box else "at"
        return f" {where} {','.join(f'{x:g}' for x in numbers)}" if numbers else ""

    def _sides(self) -> Sequence[float] | None:
        """(top, left, bottom, right) of the box or of the pixel at the point."""
        if self.point is None:
            return self.box
        # Positions count from the centres of pixels: 3.4 lies in pixel 3, 3.6 in pixel 4.
        row, column = (math.floor(value + 0.5) for value in self.point)
        return row, column, row + 1, column + 1

    def _weights(self, context: OutputContext, i: int, cells: tuple[int, ...]) -> NDArray[np.float32]:
        """How much each cell of the output counts for image ``i``; the sum is 1."""
        placement = context.placements[i] if context.placements else None
        size = context.size if placement is None else placement.image_size
        # A mask is of the photo, the output of the model's input: the two meet in the pixels of the photo.
        region = self._region(context.first + i, size, context.total)
        box = (0.0, 0.0, float(size[0]), float(size[1])) if placement is None else placement.box
        down, across = (_covered(region.shape[k], box[k], box[k + 2], cells[k]) for k in range(2))
        # Rows and columns are separate, so that the overlap of all cells is two small products.
        weights: Floats = down @ region @ across.T
        if not weights.sum() > 0:
            raise InvalidArgument(
                f"the region of Pixels must lie in what the model saw of the picture. Received:{self._words()}, (rows "
                f"and columns), of a picture {size[0]} pixels high and {size[1]} wide. "
                "fit='letterbox' shows the model all of it."
            )
        shares: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
        return shares

    def _region(self, i: int, size: tuple[int, ...], total: int) -> Floats:
        """The region's weights at the picture's pixels."""
        if self.mask is not None:
            masks = np.asarray(self.mask, dtype=np.float64)
            if masks.shape not in (tuple(size), (total, *size)):
                raise InvalidArgument(
                    f"`mask` of Pixels must have the size of the picture, {size[0]} x {size[1]}, one for all or one "
                    f"for each of the {total} image(s). {received(self.mask)}"
                )
            return masks if masks.ndim == 2 else masks[i]
        box = self._sides() or (0, 0, *size)
        rows, columns = (_covered(size[k], box[k], box[k + 2], 1)[0] for k in range(2))
        region: Floats = rows[:, None] * columns
        return region


_MASK = rules.Array((2, 3), "(height, width) or (n, height, width), true or weights of at least 0, not 0 everywhere")


def _covered(pixels: int, start: float, stop: float, cells: int) -> Floats:
    """(cells, pixels): how much of each pixel of a picture lies in each cell of an output that covers start to stop."""
    edges = start + (stop - start) * np.arange(cells + 1) / cells
    first, last = np.arange(pixels), np.arange(1, pixels + 1)
    inside: Floats = np.clip(np.minimum(edges[1:, None], last) - np.maximum(edges[:-1, None], first), 0, None)
    return inside
