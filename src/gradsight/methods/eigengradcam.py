"""EigenGrad-CAM."""

from __future__ import annotations

from gradsight.arrays import principal
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method("eigengradcam", title="EigenGrad-CAM", source="github.com/jacobgil/pytorch-grad-cam", alphas=True)
def eigengradcam(probe: Probe, ops: Ops) -> Array:
    """Project each position's gradient times activation on their first principal direction, centred.

    The sign is the one in which the map agrees with the plain sum over channels (HiResCAM).
    """
    products = probe.gradients * probe.activations[:, None]
    n, k, c, *grid = products.shape
    samples = ops.matrix_transpose(ops.reshape(products, (n, k, c, -1)))
    return ops.reshape(principal(samples, ops, centred=True), (n, k, *grid))
