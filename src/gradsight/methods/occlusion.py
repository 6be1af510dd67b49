"""Occlusion."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from gradsight.arrays import by_copy, like, rounds
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Number

_SIDE = 224
"""The usual side of an image; only roundings of the windows differ for others."""


def _cost(_channels: int, _targets: int, *, window: float, stride: float, **_: object) -> int:
    return 1 + len(_starts(_SIDE, window, stride)) ** 2


@method(
    "occlusion",
    title="Occlusion",
    source="arXiv:1311.2901",
    at="input",
    gradient=False,
    cost=_cost,
)
def occlusion(
    probe: Probe,
    ops: Ops,
    *,
    window: Annotated[float, Number(above=0, most=1)] = 0.2,
    stride: Annotated[float, Number(above=0, most=1)] = 0.1,
    fill: Annotated[float, Number(-1e6, 1e6)] = 0.0,
) -> Array:
    """Slide a window over the image and see how much of the score is lost with what it covers.

    A position's value is the mean loss of the windows that cover it.

    Args:
        probe: the pass.
        ops: array functions.
        window: its sides, as a share of the image's.
        stride: the steps between windows, as a share of the image's sides; at most the window, or gaps are left.
        fill: the value of every number in the window, as the model gets it; 0 is the mean colour where the
            preprocessing subtracts the mean.

    Raises:
        InvalidArgument: a stride longer than the window.
    """
    if stride > window:
        raise InvalidArgument(
            f"`stride` must be at most `window`, or gaps are left. {received((stride, window))} "
            "Pass stride=0.1, window=0.2."
        )
    images = probe.image.activations
    covers = _windows(images.shape[2:], window, stride)
    total: Array = 0
    for some in rounds(len(covers), len(images), probe.batch_size):
        masks = like(np.stack([covers[i] for i in some]), images, ops)
        shown = ops.reshape(masks, (len(some), 1, 1, *masks.shape[1:]))
        # By a mask, which works for any number of axes and on every framework.
        rows = images * (1 - shown) + fill * shown
        scores = probe.image.tail(ops.reshape(rows, (-1, *images.shape[1:])))
        lost = probe.scores - by_copy(scores, len(images), ops)
        total = total + ops.tensordot(ops.permute_dims(lost, (1, 2, 0)), masks, axes=1)
    return total / like(np.sum(covers, axis=0), images, ops)


def _windows(size: Sequence[int], window: float, stride: float) -> list[Array]:
    """Masks (*size) that are 1 inside of a window; together they cover every position."""
    masks = []
    for covered in itertools.product(*(_starts(side, window, stride) for side in size)):
        mask = np.zeros(tuple(size), np.float32)
        mask[covered] = 1
        masks.append(mask)
    return masks


def _starts(side: int, window: float, stride: float) -> list[slice]:
    """The windows along one axis; the last one ends where the axis ends."""
    length, step = max(1, round(window * side)), max(1, round(stride * side))
    # The last window is moved back to the edge, so that all windows have one size.
    last = max(side - length, 0)
    return [slice(first, first + length) for first in (*range(0, last, step), last)]
