"""A model by other weights, for `reading`."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np

from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.variation import MOST, varied
from gradsight.foreign import Inputs


def vary(backend: Any, inputs: Inputs, seed: int) -> Any:
    """What a model gives for another first image by other weights; None where it fails.

    Args:
        backend: of the model, whose variables stay as they are.
        inputs: a batch.
        seed: of the weights.
    """
    weights = [v for v in backend.view.variables if is_floating(v) and 0 < np.prod(v.shape) <= MOST]
    # Moving means and variances stay: of those the latter have to be over 0.
    weights = [v for v in weights if not v.name.startswith(("moving", "running"))]
    values = (numpy_of(keras.ops.convert_to_tensor(v)) for v in weights)
    others = [
        (v, keras.ops.convert_to_tensor(varied(x, seed), dtype=v.dtype)) for v, x in zip(weights, values, strict=True)
    ]
    for some in (backend.row(inputs, 0), inputs):  # a model may be fixed to the batch's number of images
        # it may also fail on such weights, in as many ways as models are written
        with contextlib.suppress(Exception), keras.StatelessScope(state_mapping=others):
            return backend.running.execute(backend.with_image(some, 1 - 3 * backend.image(some)), None)
    return None
