"""Other rules for the gradient of rectifiers, put in place for one forward pass of one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradsight.backends.torch.gradients import no_gradient_in
from gradsight.errors import ModelError, unknown

RULES = ("guided", "deconvnet")

# Activations that gate a signal by its sign, and the smooth ones that replaced them; not sigmoid, tanh and softmax.
_RECTIFIERS: set[Any] = {
    *(torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu, F.relu6, F.hardswish),
    *(F.leaky_relu, F.elu, F.celu, F.selu, F.silu, F.gelu, F.mish, F.softplus, F.hardtanh),
    *(torch.prelu, torch.Tensor.prelu, torch.selu, torch.celu, torch._C._nn.gelu, torch._C._nn.silu),
}
_IN_PLACE: set[Any] = {
    *(torch.relu_, torch.Tensor.relu_, torch.selu_, torch.celu_),
    *(F.leaky_relu_, F.elu_, F.hardtanh_),
}
_RECTIFIERS |= _IN_PLACE


class _Rectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], rule: str) -> torch.Tensor:
        with torch.enable_grad():
            ctx.source = x.detach().clone().requires_grad_()
            ctx.result = function(ctx.source.clone())
        ctx.rule = rule
        result: torch.Tensor = ctx.result.detach().clone()
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        passed = gradient.clamp(min=0)
        if ctx.rule == "guided":
            (passed,) = torch.autograd.grad(ctx.result, ctx.source, passed, retain_graph=True)
        return passed, None, None


class Rectified(TorchFunctionMode):
    """Within it, the gradient that passes a rectifier is cut at 0 first.

    ``"guided"`` (guided backpropagation, arXiv:1412.6806): the positive part, times the true derivative.
    ``"deconvnet"`` (arXiv:1311.2901): the positive part, whatever went forward.
    For ReLU these are the papers' rules. The same is done to ReLU6, leaky ReLU, ELU, SiLU, GELU, hard-swish, Mish and
    softplus, where the derivative is neither 0 nor 1; activations written out by hand (``x * x.sigmoid()``) are not
    recognised and keep their true derivative.
    """

    def __init__(self, rule: str) -> None:
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
        super().__init__()
        self._rule, self.met = rule, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace what a rectifier does to gradients; everything else goes its way."""
        kwargs = dict(kwargs or {})
        if func not in _RECTIFIERS:
            return func(*args, **kwargs)
        self.met += 1
        x, rest = (args[0], args[1:]) if args else (kwargs.pop("input"), ())
        result = _Rectifier.apply(x, lambda value: func(value, *rest, **kwargs), self._rule)  # type: ignore[no-untyped-call]
        return x.copy_(result) if func in _IN_PLACE or kwargs.get("inplace") else result

    def check(self, quantized: str) -> None:
        """Say so where nothing was replaced: the gradient would be the plain one.

        Args:
            quantized: the kind of a quantized module in the model; empty where there is none.

        Raises:
            ModelError: no rectifier ran.
        """
        if not self.met and quantized:
            raise ModelError(f"no rectifier that is known ran: {no_gradient_in(quantized)}")
        if not self.met:
            raise ModelError(
                "the model ran no rectifier (ReLU, GELU, SiLU ...) that is known, so guided backpropagation and "
                "deconvnet would be plain gradients under another name. Use the method 'gradient'."
            )
