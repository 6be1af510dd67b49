"""FullGrad."""

from __future__ import annotations

from typing import Any

from gradsight.arrays import resize, to_unit
from gradsight.contracts import Probe
from gradsight.foreign import Ops
from gradsight.registry import method


@method(
    "fullgrad",
    title="FullGrad",
    source="arXiv:1905.00780",
    at="input",
    cost=lambda _channels, targets: 5 + 2 * targets,
)
def fullgrad(probe: Probe, ops: Ops) -> Any:
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


def _post(term: Any, size: Any, ops: Ops) -> Any:
    """The paper's psi, summed over channels: (n, c, *s) -> (n, *size)."""
    scaled = to_unit(ops.abs(term), range(1, term.ndim), ops)
    return resize(ops.sum(scaled, axis=1), size, ops)
