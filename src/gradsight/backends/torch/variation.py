"""A model by other weights, for `reading`."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from gradsight.backends.variation import MOST, varied
from gradsight.foreign import Inputs


def vary(backend: Any, inputs: Inputs, seed: int) -> Any:
    """What a model gives for another first image by other weights; None where it fails.

    Args:
        backend: a backend of the model made for this alone: its view's weights are replaced, the user's stay.
        inputs: a batch.
        seed: of the weights.
    """
    first = backend.row(inputs, 0)
    for module in backend.view.modules.values():
        # Statistics of normalisations stay: of those some have to be over 0.
        buffers = {name: x for name, x in module._buffers.items() if not name.startswith("running")}
        for holder, tensors in ((module._parameters, module._parameters), (module._buffers, buffers)):
            for name, weight in list(tensors.items()):
                if weight is not None and weight.is_floating_point() and 0 < weight.numel() <= MOST:
                    values = varied(weight.detach().float().cpu().numpy(), seed)
                    holder[name] = torch.from_numpy(values).to(weight)
    for some in (first, inputs):  # a model may be fixed to the batch's number of images
        # it may also fail on such weights, in as many ways as models are written
        with torch.no_grad(), contextlib.suppress(Exception):
            return backend.outputs(backend.with_image(some, 1 - 3 * backend.image(some)))
    return None
