"""Ablation-CAM."""

from __future__ import annotations

from gradsight.arrays import by_copy, ratio, rounds, weighted_sum
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
    # Row i switches channel i off.
    kept = 1 - ops.eye(c, dtype=activations.dtype, device=activations.device)
    without = []
    for some in rounds(c, n, probe.batch_size):
        masks = ops.reshape(kept[some.start : some.stop], (len(some), 1, c, *[1] * len(probe.spatial)))
        rows = ops.reshape(activations * masks, (len(some) * n, *activations.shape[1:]))
        without.append(probe.tail(rows))
    lost = ops.permute_dims(scores - by_copy(ops.concat(without, axis=0), n, ops), (1, 2, 0))
    magnitude = ops.broadcast_to(ops.abs(scores)[..., None], lost.shape)
    return weighted_sum(ratio(lost, magnitude, ops), activations, ops)
