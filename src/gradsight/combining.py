"""Parts of methods and variants: a class against its rivals, maps of several layers as one, channels one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from gradsight.arrays import positive, resize, to_unit
from gradsight.contracts import Probe
from gradsight.errors import InvalidArgument, ModelError
from gradsight.foreign import Array, Ops
from gradsight.targets import ScoreSpec, Term


def against_rivals(probe: Probe, rivals: int, strength: float) -> Probe:
    """The same pass, each class explained against the ``rivals`` other classes with the nearest scores.

    The score is that of the class minus ``strength`` times the mean score of its rivals; where there are fewer other
    classes, all of them are its rivals.

    Raises:
        ModelError: the targets are not classes, or there is only one.
    """
    classes, logits = probe.targets.classes, probe.logits
    if classes is None or logits is None:
        raise ModelError(
            "classes can be set against their rivals; these targets are not classes. Use the plain method."
        )
    if logits.shape[1] < 2:
        raise ModelError("the model has one class, and nothing to set it against. Use the plain method.")
    # A model of two classes has one rival.
    rivals = min(rivals, logits.shape[1] - 1)
    rows = np.arange(len(classes))[:, None, None]
    distance = np.abs(logits[:, None, :] - logits[rows[..., 0], classes][..., None])
    # A class is not its own rival.
    distance[rows, np.arange(classes.shape[1])[None, :, None], classes[..., None]] = np.inf
    # Stable, so that ties give the same rivals on every machine.
    nearest = np.argsort(distance, axis=-1, kind="stable")
    columns = tuple(
        (*column, *(Term(-strength / rivals, classes=nearest[:, j, i]) for i in range(rivals)))
        for j, column in enumerate(probe.targets.columns)
    )
    return probe.with_targets(ScoreSpec(probe.targets.names, columns))


_FUSIONS: dict[str, Callable[[Sequence[Array], Ops], Array]] = {
    "mean": lambda maps, ops: ops.mean(ops.stack(maps, axis=0), axis=0),
    "max": lambda maps, ops: ops.max(ops.stack(maps, axis=0), axis=0),
    "product": lambda maps, ops: ops.prod(ops.stack(maps, axis=0), axis=0),
}


def fused(maps: Sequence[Array], by: str, probe: Probe, ops: Ops) -> Array:
    """Maps (n, k, *s) of several layers as one (n, k, *positions of the image) in [0, 1]."""
    size = probe.image.activations.shape[2:]
    axes = range(-len(size), 0)
    # Before they are put together, or the layer with the largest values would decide alone.
    scaled = [to_unit(resize(positive(m, ops), size, ops), axes, ops) for m in maps]
    return to_unit(_FUSIONS[by](scaled, ops), axes, ops)


class ChannelProbe:
    """A probe that shows each channel of another as an image of its own with one channel."""

    def __init__(self, probe: Probe, ops: Ops) -> None:
        n, c, *grid = probe.activations.shape
        self.name, self.spatial = probe.name, probe.spatial
        self.activations = ops.reshape(probe.activations, (n * c, 1, *grid))
        # Row i * c + j is channel j of image i, in the order of the activations above.
        by_channel = ops.moveaxis(probe.gradients, 2, 1)
        self.gradients = ops.reshape(by_channel, (n * c, -1, 1, *grid))
        self.alphas = ops.mean(self.gradients, axis=self.spatial)

    def __getattr__(self, name: str) -> NoReturn:
        raise InvalidArgument(
            f"eigen_smooth takes a method apart into its channels, which needs one that is made of activations and "
            f"gradients alone, such as gradcam, gradcampp, xgradcam, hirescam or layercam; this one asks for `{name}`."
        )
