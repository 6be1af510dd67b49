"""All of a PyTorch model that a call could change."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def state(model: nn.Module) -> list[Any]:
    """All that a call could change: what every module holds, bit by bit, and the random state."""
    found: list[Any] = [torch.get_rng_state().numpy().tobytes()]
    for name, module in model.named_modules():
        kept = {k: id(v) for k, v in vars(module).items() if not k.startswith("_")}
        hooks = [list(vars(module)[k]) for k in vars(module) if k.endswith("hooks")]
        found.append((name, module.training, kept, hooks))
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        content = tensor.detach().cpu().numpy().tobytes()
        grad = None if tensor.grad is None else tensor.grad.numpy().tobytes()
        found.append((name, id(tensor), tensor._version, tensor.requires_grad, content, grad))
    return found
