"""A model by other weights, for `reading`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import keras
import numpy as np

from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.variation import MOST, varied
from gradsight.foreign import Inputs, Outputs

if TYPE_CHECKING:
    from gradsight.backends.keras.running import Running


def vary(running: Running, inputs: Inputs, seed: int) -> Outputs | None:
    """What a model gives for another first image by other weights; None where it fails.

    Args:
        running: of the model, whose variables stay as they are.
        inputs: a batch.
        seed: of the weights.
    """
    weights = [v for v in running.view.variables if is_floating(v) and 0 < np.prod(v.shape) <= MOST]
    # Moving means and variances stay: of those the latter have to be over 0.
    weights = [v for v in weights if not v.name.startswith(("moving", "running"))]
    values = (numpy_of(keras.ops.convert_to_tensor(v)) for v in weights)
    others = [
        (v, keras.ops.convert_to_tensor(varied(x, seed), dtype=v.dtype)) for v, x in zip(weights, values, strict=True)
    ]
    batches = running.batches
    for some in (batches.row(inputs, 0), inputs):  # a model may be fixed to the batch's number of images
        # it may also fail on such weights, in as many ways as models are written
        with contextlib.suppress(Exception), keras.StatelessScope(state_mapping=others):
            return running.execute(batches.with_image(some, 1 - 3 * batches.image(some)), None)
    return None
