"""HiResCAM."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method

_ROUNDING = 1e-5
"""Of what was summed so much is left where the sum is zero and single precision rounds; maps have over a hundredth."""


@method("hirescam", title="HiResCAM", source="arXiv:2011.08891", alphas=True)
def hirescam(probe: Probe, ops: Ops) -> Array:
    """Multiply gradient and activation position by position, and sum the channels.

    Where the rest of the model is linear the map adds up to the score, less its bias. Where it takes no notice of how
    large a position's activations are, as a layer normalisation behind the blocks of a transformer does not, the sum is
    zero by nature (Euler's theorem on homogeneous functions): what is left of rounding is taken for the zero it is.
    """
    products = probe.gradients * probe.activations[:, None]
    maps = ops.sum(products, axis=2)
    largest = ops.max(ops.abs(maps), axis=probe.spatial, keepdims=True)
    summed = ops.max(ops.sum(ops.abs(products), axis=2), axis=probe.spatial, keepdims=True)
    return ops.where(largest > _ROUNDING * summed, maps, 0 * maps)
