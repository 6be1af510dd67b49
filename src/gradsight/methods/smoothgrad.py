"""SmoothGrad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from gradsight.arrays import by_copy, normal, rounds
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradient import strongest
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method(
    "smoothgrad",
    title="SmoothGrad",
    source="arXiv:1706.03825",
    at="input",
    cost=lambda _channels, targets, *, samples, **_: 1 + samples * (1 + targets),
)
def smoothgrad(
    probe: Probe,
    ops: Ops,
    *,
    samples: Annotated[int, Whole(1)] = 16,
    noise: Annotated[float, Number(0, 10)] = 0.15,
    seed: Annotated[int, Whole(0)] = 0,
) -> Array:
    """Average the image's gradient over noisy copies of it, and take the strongest colour channel.

    Args:
        probe: the pass.
        ops: array functions.
        samples: how many noisy copies.
        noise: their deviation, as a share of the image's range.
        seed: of the noise.
    """
    total: Array = 0
    for other in noisy_probes(probe.image, ops, samples=samples, noise=noise, seed=seed):
        total = total + ops.sum(by_copy(other.gradients, len(probe.scores), ops), axis=0) / samples
    return strongest(total, ops)


def noisy_probes(probe: Probe, ops: Ops, *, samples: int, noise: float, seed: int) -> Iterator[Probe]:
    """The same probe on noisy copies of the images, some copies of all images at a time; row j is image j % n."""
    images = probe.image.activations
    axes = tuple(range(1, images.ndim))
    deviation = noise * (ops.max(images, axis=axes, keepdims=True) - ops.min(images, axis=axes, keepdims=True))
    for some in rounds(samples, len(images), probe.batch_size):
        # The same noise for every image, whatever it shares a batch with.
        copies = [images + deviation * normal((1, *images.shape[1:]), seed + i, images, ops) for i in some]
        yield probe.with_images(ops.concat(copies, axis=0))
