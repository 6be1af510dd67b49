"""IS-CAM."""

from __future__ import annotations

from typing import Annotated

from gradsight.arrays import by_copy
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.scorecam import combined, seen_through
from gradsight.registry import method
from gradsight.rules import Whole


@method(
    "iscam",
    title="IS-CAM",
    source="arXiv:2010.03023",
    gradient=False,
    cost=lambda channels, _targets, *, samples: 1 + samples * channels,
)
def iscam(probe: Probe, ops: Ops, *, samples: Annotated[int, Whole(1)] = 10) -> Array:
    """Score-CAM with weights averaged over masked images that fade in, from 1 / n of their strength to all of it.

    The strengths are 1 / n, 2 / n ... 1, an integral from the baseline to the masked image; torchcam adds them up as it
    goes, and multiplies the image by up to (n + 1) / 2.

    Args:
        probe: the pass.
        ops: array functions.
        samples: how many strengths.
    """
    scores = []
    for masked in seen_through(probe, probe.activations, ops):
        faded = (probe.image.tail(masked * (step / samples)) for step in range(1, samples + 1))
        scores.append(sum(faded) / samples)
    by_channel = by_copy(ops.concat(scores, axis=0), len(probe.activations), ops)
    return combined(by_channel, probe.activations, ops)
