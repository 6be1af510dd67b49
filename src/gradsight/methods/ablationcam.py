"""Ablation-CAM."""

from __future__ import annotations

import numpy as np

from gradsight.arrays import by_copy, ratio, weighted_sum
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method(
    "ablationcam",
    title="Ablation-CAM",
    source="doi:10.1109/WACV45572.2020.9093360",
    gradient=False,
    cost=lambda channels, _targets: channels + 1,
)
def ablationcam(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by the share of the score that is lost without it, and sum the channels.

    Only the part of the model behind the layer runs again. The share is of the score's magnitude: the paper's own
    denominator, the score, would turn the map of a negative score upside down.
    """
    activations, scores = probe.activations, probe.scores
    n, c = activations.shape[:2]
    without = probe.without_channels(np.arange(c)[:, None])
    lost = ops.permute_dims(scores - by_copy(without, n, ops), (1, 2, 0))
    magnitude = ops.broadcast_to(ops.abs(scores)[..., None], lost.shape)
    return weighted_sum(ratio(lost, magnitude, ops), activations, ops)
