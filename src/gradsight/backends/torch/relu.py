"""ReLU as a step of the graph that follows the rule of now on the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

RELU = frozenset((F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_))
"""The names that PyTorch has for it."""


@dataclass
class Rule:
    """By which rule gradients pass the steps of one pass; empty for the true one.

    Steps hold it, and so it holds nothing of their graph: what holds itself by way of a graph is never freed.
    """

    now: str = ""


class ReluStep(torch.autograd.Function):
    """ReLU of a tensor, called as the model calls it.

    Hooks around PyTorch's own step would add a pass over the gradient to the one that the step makes. Here the positive
    part of "guided" is taken in the memory that was just made, and of "deconvnet" it is all there is.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], rule: Rule
    ) -> torch.Tensor:
        """Call ``function``, which may write into ``x``."""
        result = function(x)
        if result is x:
            ctx.mark_dirty(x)
        ctx.save_for_backward(result)
        ctx.rule = rule
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Let a gradient pass."""
        if ctx.rule.now == "deconvnet":
            return gradient.relu(), None, None
        (result,) = ctx.saved_tensors
        # PyTorch's own step, to the bit.
        passed = torch.ops.aten.threshold_backward(gradient, result, 0)
        return passed.relu_() if ctx.rule.now == "guided" else passed, None, None
