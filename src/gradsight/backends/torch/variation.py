"""A model by other weights, for `reading`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from gradsight.backends.variation import MOST, varied
from gradsight.foreign import Inputs, Outputs

if TYPE_CHECKING:
    from gradsight.backends.torch.running import Running


def vary(running: Running, inputs: Inputs, seed: int) -> Outputs | None:
    """What a model gives for another first image by other weights; None where it fails.

    Args:
        running: of the model, made for this alone: its view's weights are replaced, the user's stay.
        inputs: a batch.
        seed: of the weights.
    """
    batches = running.batches
    for module in running.view.modules.values():
        # In the module's own dicts: they hold plain tensors of the view, which PyTorch would refuse as parameters.
        _vary(vars(module)["_parameters"], seed)
        _vary(vars(module)["_buffers"], seed)
    for some in (batches.row(inputs, 0), inputs):  # a model may be fixed to the batch's number of images
        # it may also fail on such weights, in as many ways as models are written
        with torch.no_grad(), contextlib.suppress(Exception):
            return running.outputs(batches.with_image(some, 1 - 3 * batches.image(some)))
    return None


def _vary(weights: dict[str, torch.Tensor | None], seed: int) -> None:
    for name, weight in list(weights.items()):
        # Statistics of normalisations stay: of those some have to be over 0.
        if weight is None or not weight.is_floating_point() or name.startswith("running"):
            continue
        if 0 < weight.numel() <= MOST:
            weights[name] = torch.from_numpy(varied(weight.detach().float().cpu().numpy(), seed)).to(weight)
