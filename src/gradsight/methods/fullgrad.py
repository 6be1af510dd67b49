"""FullGrad."""

from __future__ import annotations

from collections.abc import Sequence

from gradsight.arrays import resize, to_unit
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method


@method(
    "fullgrad",
    title="FullGrad",
    source="arXiv:1905.00780",
    at="input",
    cost=lambda _channels, targets: 5 + 2 * targets,
)
def fullgrad(probe: Probe, ops: Ops) -> Array:
    """Add up what the image and every bias of the model contribute, position by position.

    Each contribution is made positive, scaled to [0, 1] over the whole of its layer, and enlarged, as in the paper's
    section 4. What is a bias is found, not listed: whatever of a module's output is not linear in its input.
    """
    image = probe.image
    maps = []
    for j in range(probe.scores.shape[1]):
        total = _post(image.gradients[:, j] * image.activations, image.activations.shape[2:], ops)
        for term in image.bias_terms(j):
            if term.ndim == image.activations.ndim:
                total = total + _post(term, image.activations.shape[2:], ops)
        maps.append(total)
    return ops.stack(maps, axis=1)


def _post(term: Array, size: Sequence[int], ops: Ops) -> Array:
    """The paper's psi, summed over channels: (n, c, *s) -> (n, *size)."""
    scaled = to_unit(ops.abs(term), range(1, term.ndim), ops)
    return resize(ops.sum(scaled, axis=1), size, ops)
