"""SS-CAM."""

from __future__ import annotations

from typing import Annotated

from gradsight.arrays import normal
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.scorecam import combined, scores_through
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method(
    "sscam",
    title="SS-CAM",
    source="arXiv:2006.14255",
    gradient=False,
    cost=lambda channels, _targets, *, samples, **_: 1 + samples * channels,
)
def sscam(
    probe: Probe,
    ops: Ops,
    *,
    samples: Annotated[int, Whole(1)] = 35,
    std: Annotated[float, Number(0, 100)] = 2.0,
    seed: Annotated[int, Whole(0)] = 0,
) -> Array:
    """Score-CAM with weights averaged over noisy masks (the paper's first variant, algorithm 1).

    Args:
        probe: the pass.
        ops: array functions.
        samples: how many noisy masks for each channel.
        std: deviation of the noise that is added to a mask in [0, 1].
        seed: of the noise.
    """
    total: Array = 0
    for sample in range(samples):

        def noisy(masks: Array, some: range, sample: int = sample) -> Array:
            shape = (1, 1, *masks.shape[3:])  # the same for every image, whatever it shares a batch with
            # A prime apart, so that no two samples share the noise of a channel.
            noise = [normal(shape, seed + 7919 * sample + channel, masks, ops) for channel in some]
            return masks + std * ops.stack(noise, axis=0)

        total = total + scores_through(probe, probe.activations, ops, noisy) / samples
    return combined(total, probe.activations, ops)
