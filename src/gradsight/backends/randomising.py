"""Other weights for some layers of a model, to see whether a map depends on what the model has learned."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Groups = tuple[tuple[str, ...], ...]
"""By layer, in the order in which layers ran first, the names of all whose weights it uses; ``""`` is the model."""


def groups(calls: Iterable[str], holders: Iterable[str], mark: str) -> Groups:
    """Which weights are used by which layer that ran.

    Layers that hold weights and were not seen to run, as where a function is given the weights of a layer inside,
    belong to the nearest layer around them that was.

    Args:
        calls: as they ran, ``name#0`` the first of a layer.
        holders: the names of layers that hold weights of their own; ``""`` for the model.
        mark: what divides a layer's name from those around it.
    """
    order = {name: turn for turn, name in reversed(list(enumerate(call.partition("#")[0] for call in calls)))}
    used: dict[str, list[str]] = {}
    for holder in holders:
        user = holder
        while user and user not in order:
            user = user.rpartition(mark)[0]
        used.setdefault(user, []).append(holder)
    # The model's own come first: tokens and positions are what it adds to the picture.
    return tuple(tuple(used[user]) for user in sorted(used, key=lambda user: order.get(user, -1)))


def randomised(values: NDArray[np.floating], seed: int, name: str) -> NDArray[np.float32]:
    """A weight as it might be if nothing had been learned.

    Kernels and matrices become normal numbers with the mean and the deviation that they had: so large are they that
    signals neither die nor grow out of range. What has one axis, biases and scales, keeps its numbers in another order.

    Args:
        values: the weight.
        seed: of the numbers.
        name: of the weight: each draws numbers of its own, whatever other weights are replaced.
    """
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if values.ndim < 2:
        return np.asarray(random.permutation(values) if values.ndim else values, np.float32)
    wide = values.astype(np.float64, copy=False)
    drawn = random.standard_normal(values.shape, dtype=np.float32)
    found: NDArray[np.float32] = np.asarray(drawn * wide.std() + wide.mean(), np.float32)
    return found
