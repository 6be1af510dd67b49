"""Score-CAM."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated

from gradsight.arrays import by_copy, resize, rounds, softmax, to_unit, weighted_sum
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Whole


def _cost(channels: int, _targets: int, *, top: int | None, groups: int | None) -> int:
    return 1 + min(channels if number is None else min(number, channels) for number in (top, groups))


@method("scorecam", title="Score-CAM", source="arXiv:1910.01279", gradient=False, cost=_cost)
def scorecam(
    probe: Probe,
    ops: Ops,
    *,
    top: Annotated[int, Whole(1)] | None = None,
    groups: Annotated[int, Whole(1)] | None = None,
) -> Array:
    """Weigh each channel by the score of the image seen through it, softmax over channels, and sum the channels.

    The baseline's score, which the paper subtracts, is the same for all channels, and the softmax takes it out again.

    Args:
        probe: the pass.
        ops: array functions.
        top: only the channels that vary most over the positions, so many for each image; the paper takes all.
        groups: neighbouring channels, so many groups of them, share a mask (their mean) and a weight.
    """
    channels = chosen(probe.activations, ops, top=top, groups=groups)
    return combined(scores_through(probe, channels, ops), channels, ops)


def scores_through(
    probe: Probe, channels: Array, ops: Ops, change: Callable[[Array, range], Array] = lambda masks, _: masks
) -> Array:
    """The scores (c, n, k) of the images seen through each of their channels; see `seen_through`."""
    rounds = seen_through(probe, channels, ops, change)
    return by_copy(ops.concat([probe.image.tail(masked) for masked in rounds], axis=0), len(channels), ops)


def combined(scores: Array, channels: Array, ops: Ops) -> Array:
    """Sum channels (n, c, *s) by the softmax of their scores (c, n, k): (n, k, *s)."""
    return weighted_sum(softmax(ops.permute_dims(scores, (1, 2, 0)), ops), channels, ops)


def seen_through(
    probe: Probe, channels: Array, ops: Ops, change: Callable[[Array, range], Array] = lambda masks, _: masks
) -> Iterator[Array]:
    """The images, each multiplied with each of its channels, enlarged and scaled to [0, 1]; never all at once.

    Args:
        probe: the pass.
        channels: (n, c, *s).
        ops: array functions.
        change: what is done to the masks (r, n, 1, *positions) of a range of r channels.

    Yields:
        (r * n, image channels, *positions) for some of the channels, the first ones first; row j is image j % n.
    """
    images = probe.image.activations
    size = images.shape[2:]
    # Channels in front, so that a round of them is one slice.
    by_channel = ops.moveaxis(channels, 1, 0)[:, :, None]
    for some in rounds(by_channel.shape[0], len(images), probe.batch_size):
        masks = resize(by_channel[some.start : some.stop], size, ops)
        masks = change(to_unit(masks, probe.image.spatial, ops), some)
        yield ops.reshape(images * masks, (-1, *images.shape[1:]))


def chosen(activations: Array, ops: Ops, *, top: int | None, groups: int | None) -> Array:
    """Fewer channels (n, c', *s): the ``top`` ones that vary most over the positions, then the means of ``groups``.

    Raises:
        InvalidArgument: a number that is not between 1 and the number of channels.
    """
    n, c, *grid = activations.shape
    flat = ops.reshape(activations, (n, c, math.prod(grid)))
    for name, number in (("top", top), ("groups", groups)):
        if number is not None and not 1 <= number <= c:
            raise InvalidArgument(f"`{name}` must be between 1 and the layer's {c} channels. {received(number)}")
    if top is not None:
        # A channel that is the same everywhere masks nothing.
        order = ops.argsort(-ops.std(flat, axis=-1), axis=-1)[:, :top]
        flat = ops.take_along_axis(flat, ops.broadcast_to(order[..., None], (n, top, flat.shape[-1])), axis=1)
    if groups is not None:
        edges = [round(i * flat.shape[1] / groups) for i in range(groups + 1)]
        parts = [flat[:, a:b] for a, b in pairwise(edges) if b > a]
        flat = ops.stack([ops.mean(part, axis=1) for part in parts], axis=1)
    return ops.reshape(flat, (n, flat.shape[1], *grid))
