"""Integrated gradients."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from gradsight.arrays import by_copy, rounds
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method(
    "integratedgradients",
    title="Integrated gradients",
    source="arXiv:1703.01365",
    at="input",
    cost=lambda _channels, targets, *, steps, **_: 1 + steps * (1 + targets),
)
def integratedgradients(
    probe: Probe,
    ops: Ops,
    *,
    steps: Annotated[int, Whole(1, 1000)] = 32,
    baseline: Annotated[float, Number(-1e6, 1e6)] = 0.0,
) -> Array:
    """Sum gradients along the straight line from a baseline to the image, times the difference of the two.

    The colours are summed with their signs: a map adds up to the score minus the baseline's, up to the error of the
    Gauss-Legendre rule.

    Args:
        probe: the pass.
        ops: array functions.
        steps: how many points of the line.
        baseline: the value of every number of the baseline, as the model gets it; 0 is the mean colour where the
            preprocessing subtracts the mean.
    """
    images = probe.image.activations
    # Gauss-Legendre points need far fewer passes than even steps for the same error.
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    away = images - baseline
    total: Array = 0
    for some in rounds(steps, len(images), probe.batch_size):
        points = ops.concat([baseline + float(nodes[i] + 1) / 2 * away for i in some], axis=0)
        g = by_copy(probe.image.with_images(points).gradients, len(images), ops)
        total = total + sum(float(weights[i]) / 2 * g[row] for row, i in enumerate(some))
    return ops.sum(total * away[:, None], axis=2)
