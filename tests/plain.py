"""Activations and gradients the plain way, to judge the probe by: a copy of the model, one target at a time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def activations_and_gradients(
    model: nn.Module, layer: str, inputs: Any, classes: Any, call: int = -1
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's output (n, ...) and d score[n, k] / d output (n, k, ...), in the layer's own layout, float64.

    ``classes`` is (n, k). One whole forward and backward pass for each target; a hook keeps the output of each call.
    """
    model = copy.deepcopy(model).eval().double()
    leaves = [x.double().requires_grad_() for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    kept: list[torch.Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    columns = []
    for j in range(len(classes[0])):
        kept.clear()
        with torch.enable_grad():
            scores = model(*leaves)
            total = sum(scores[i, row[j]] for i, row in enumerate(classes))
            columns.append(torch.autograd.grad(total, kept[call])[0])
    return kept[call].detach(), torch.stack(columns, dim=1)
