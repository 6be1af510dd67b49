"""RISE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from gradsight.arrays import by_copy, like, resize, rounds
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method(
    "rise",
    title="RISE",
    source="arXiv:1806.07421",
    at="input",
    gradient=False,
    cost=lambda _channels, _targets, *, masks, **_: 1 + masks,
)
def rise(
    probe: Probe,
    ops: Ops,
    *,
    masks: Annotated[int, Whole(1)] = 1000,
    cells: Annotated[int, Whole(1, 1000)] = 7,
    share: Annotated[float, Number(above=0, most=1)] = 0.5,
    seed: Annotated[int, Whole(0)] = 0,
) -> Array:
    """Average random smooth masks, each weighted by how much better than the mean the image scores through it (eq. 6).

    The paper takes the score itself. Its map is this one and, everywhere, the mean score: a constant that hides the map
    where scores are logits, as for every method here, and not the paper's probabilities.

    Args:
        probe: the pass.
        ops: array functions.
        masks: how many, the same for every image.
        cells: the cells of a mask's coarse grid, along each axis.
        share: the share of cells that are open.
        seed: of the masks.
    """
    images = probe.image.activations
    size = images.shape[2:]
    random = np.random.default_rng(seed)
    total: Array = 0
    opened: Array = 0
    scored: Array = 0
    for some in rounds(masks, len(images), probe.batch_size):
        seen = ops.stack([_mask(random, size, cells, share, images, ops) for _ in some], axis=0)
        shown = ops.reshape(seen, (len(some), 1, 1, *size))
        scores = probe.image.tail(ops.reshape(images * shown, (-1, *images.shape[1:])))
        scores = ops.permute_dims(by_copy(scores, len(images), ops), (1, 2, 0))
        # Added up at once: a thousand maps of the size of the image are never in memory together.
        total = total + ops.tensordot(scores, seen, axes=1)
        opened, scored = opened + ops.sum(seen, axis=0), scored + ops.sum(scores, axis=-1)
    mean = ops.reshape(scored / masks, (*scored.shape, *[1] * len(size)))
    return (total - mean * opened) / (masks * share)


def _mask(random: np.random.Generator, size: Sequence[int], cells: int, share: float, images: Array, ops: Ops) -> Array:
    """A coarse grid of open and closed cells, enlarged by a cell too much and shifted at random (section 3.2)."""
    coarse = like((random.random((cells,) * len(size)) < share).astype(np.float32), images, ops)
    steps = [-(-side // cells) for side in size]
    large = resize(coarse, [(cells + 1) * step for step in steps], ops)
    # The shift hides the edges of the cells, which would show in the map.
    shifts = [int(random.integers(step)) for step in steps]
    return large[tuple(slice(shift, shift + side) for shift, side in zip(shifts, size, strict=True))]
