"""HiResCAM."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("hirescam", title="HiResCAM", source="arXiv:2011.08891", alphas=True)
def hirescam(probe: Probe, ops: Ops) -> Array:
    """Multiply gradient and activation position by position, and sum the channels.

    Where the rest of the model is linear the map adds up to the score, less its bias.
    """
    return ops.sum(probe.gradients * probe.activations[:, None], axis=2)
