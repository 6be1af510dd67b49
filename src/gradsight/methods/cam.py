"""CAM."""

from __future__ import annotations

from gradsight.arrays import like, weighted_sum
from gradsight.contracts import Probe
from gradsight.errors import ModelError
from gradsight.foreign import Array, Ops
from gradsight.registry import method

_TOLERANCE = 0.02  # bfloat16 rounds by 0.4 % at each step; another head is off by its whole score
_HEAD = "a global average pooling and one linear layer, and nothing else, behind the layer"


@method(
    "cam",
    title="CAM",
    source="arXiv:1512.04150",
    needs=_HEAD,
    cost=lambda _channels, _targets: 5,  # four of them try the head
    alphas=True,
)
def cam(probe: Probe, ops: Ops) -> Array:
    """Weigh each channel by the linear layer's weight for the class, and sum the channels (eq. 2).

    The weights are read off the gradient, which is weight / positions everywhere exactly when the head is of this
    kind; that it is one is checked, not assumed.

    Raises:
        ModelError: the head is of another kind.
    """
    weights = ops.sum(probe.gradients, axis=probe.spatial)
    if not _is_average_and_linear(probe, weights, ops):
        raise ModelError(
            f"CAM needs {_HEAD}; behind layer {probe.name!r} there is something else. Use 'gradcam', which is the same "
            "map up to a factor where CAM is defined, and is defined everywhere."
        )
    return weighted_sum(weights, probe.activations, ops)


def _is_average_and_linear(probe: Probe, weights: Array, ops: Ops) -> bool:
    """Whether each image's scores are ``bias + weights . mean(activations)``, here, at 0, and for other activations.

    An image whose numbers are not finite says nothing.
    """
    spread = ops.max(probe.gradients, axis=probe.spatial) - ops.min(probe.gradients, axis=probe.spatial)
    if _is_over(spread, _TOLERANCE * _largest(probe.gradients, ops), ops):
        return False
    bias = probe.tail(ops.zeros_like(probe.activations))
    # Large values of either sign reach what a ReLU, a normalisation or a limit in the head would change.
    signs = ops.reshape(
        like([(-1.0) ** i for i in range(weights.shape[-1])], weights, ops), (-1, *[1] * len(probe.spatial))
    )
    for activations in (probe.activations, 30 * signs * probe.activations, -30 * signs * probe.activations):
        parts = weights * ops.mean(activations, axis=probe.spatial)[:, None]
        expected = bias + ops.sum(parts, axis=-1)
        size = ops.sum(ops.max(ops.abs(parts), axis=-1), axis=-1) + _largest(bias, ops)
        if _is_over(probe.tail(activations) - expected, _TOLERANCE * size, ops):
            return False
    return True


def _largest(values: Array, ops: Ops) -> Array:
    """The largest magnitude of each image: (n, ...) -> (n,)."""
    return ops.max(ops.abs(values), axis=tuple(range(1, values.ndim)))


def _is_over(values: Array, limits: Array, ops: Ops) -> bool:
    """Whether some image has a magnitude over its limit, (n,)."""
    return bool(ops.any(_largest(values, ops) > limits))
