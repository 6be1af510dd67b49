"""Smooth Grad-CAM++."""

from __future__ import annotations

from typing import Annotated

from gradsight.arrays import by_copy, positive, ratio, weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.smoothgrad import noisy_probes
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method(
    "smoothgradcampp",
    title="Smooth Grad-CAM++",
    source="arXiv:1908.01224",
    cost=lambda _channels, _targets, *, samples, **_: 1 + samples,
)
def smoothgradcampp(
    probe: Probe,
    ops: Ops,
    *,
    samples: Annotated[int, Whole(1)] = 8,
    noise: Annotated[float, Number(0, 10)] = 0.15,
    seed: Annotated[int, Whole(0)] = 0,
) -> Array:
    """Grad-CAM++ with gradients, their squares and cubes averaged over noisy copies of the image.

    The numerator of alpha is the mean square, as the derivation of Grad-CAM++ has it and torchcam corrects it.

    Args:
        probe: the pass.
        ops: array functions.
        samples: how many noisy copies.
        noise: their deviation, as a share of the image's range.
        seed: of the noise.
    """
    first: Array = 0
    second: Array = 0
    third: Array = 0
    # Only the running means are kept: all samples at once would be `samples` times the gradients.
    for other in noisy_probes(probe, ops, samples=samples, noise=noise, seed=seed):
        g = by_copy(other.gradients, len(probe.scores), ops)
        first, second, third = (
            total + ops.sum(power, axis=0) / samples for total, power in ((first, g), (second, g**2), (third, g**3))
        )
    total = ops.sum(probe.activations, axis=probe.spatial, keepdims=True)[:, None]
    alpha = ratio(second, 2 * second + total * third, ops)
    weights = ops.sum(alpha * positive(first, ops), axis=probe.spatial)
    return weighted_sum(weights, probe.activations, ops)
