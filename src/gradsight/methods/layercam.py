"""LayerCAM."""

from __future__ import annotations

from gradsight.arrays import positive
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("layercam", title="LayerCAM", source="doi:10.1109/TIP.2021.3089943", alphas=True)
def layercam(probe: Probe, ops: Ops) -> Array:
    """Multiply positive gradient and activation position by position, and sum the channels."""
    return ops.sum(positive(probe.gradients, ops) * probe.activations[:, None], axis=2)
