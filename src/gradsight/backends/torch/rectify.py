"""Other rules for the gradient of rectifiers, put in place for one forward pass of one thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradsight.backends.rectifiers import NONE_RAN, RULES, tried
from gradsight.backends.torch.gradients import no_gradient_in
from gradsight.errors import ModelError, unknown
from gradsight.foreign import Outputs
from gradsight.generators import OwnNumbers
from gradsight.recent import Recent

Function: TypeAlias = Callable[..., Outputs]

# Where PyTorch keeps activations; `torch`, tensors and PyTorch's own C++ have some of them under the same names.
_NAMES = {name.strip("_") for name in dir(F) if callable(getattr(F, name))}

_kinds: Recent[Hashable, tuple[bool, bool]] = Recent(256)


class _Rectifier(torch.autograd.Function):
    # The true derivative is asked of a small graph of its own: what the rule changes is what goes into it.

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], rule: str) -> torch.Tensor:
        with torch.enable_grad():
            ctx.source = x.detach().clone().requires_grad_()
            ctx.result = function(ctx.source.clone())
        ctx.rule = rule
        result: torch.Tensor = ctx.result.detach().clone()
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        passed = gradient.clamp(min=0)
        if ctx.rule == "guided":
            (passed,) = torch.autograd.grad(ctx.result, ctx.source, passed, retain_graph=True)
        return passed, None, None


class Rectified(TorchFunctionMode):
    """Within it, the gradient that passes a rectifier is cut at 0 first.

    ``"guided"`` (guided backpropagation, arXiv:1412.6806): the positive part, times the true derivative.
    ``"deconvnet"`` (arXiv:1311.2901): the positive part, whatever went forward.
    For ReLU these are the papers' rules. The same is done to every function of ``torch.nn.functional`` that is a
    rectifier by trial, see `gradsight.backends.rectifiers`; activations written out by hand (``x * x.sigmoid()``) are
    not recognised and keep their true derivative.
    """

    def __init__(self, rule: str) -> None:
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
        super().__init__()
        self._rule, self.met = rule, 0

    def __torch_function__(
        self, func: Function, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Outputs:
        """Replace what a rectifier does to gradients; everything else goes its way."""
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "").strip("_") not in _NAMES or not (args or "input" in kwargs):
            return func(*args, **kwargs)
        x, rest, named = args[0] if args else kwargs["input"], args[1:], dict(kwargs)
        if not args:
            del named["input"]
        rectifies, in_place = _kind(func, rest, named)
        if not rectifies:
            return func(*args, **kwargs)
        self.met += 1
        result = _Rectifier.apply(x, lambda value: func(value, *rest, **named), self._rule)  # type: ignore[no-untyped-call]
        return x.copy_(result) if in_place else result

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
            raise ModelError(NONE_RAN)


def _kind(function: Function, rest: tuple[Any, ...], named: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a function is a rectifier, and whether it writes into its argument; found out once for an argument list.

    What a model has learned of it, as of PReLU, is taken as it begins: such a function is one, whatever its slopes.
    """
    begins = torch.full((1,), 0.25)
    rest = tuple(begins if isinstance(x, torch.Tensor) else x for x in rest)
    named = {name: begins if isinstance(x, torch.Tensor) else x for name, x in named.items()}
    key = (function, *(_told(x) for x in rest), *((name, _told(x)) for name, x in named.items()))

    def find_out() -> tuple[bool, bool]:
        written: list[bool] = []

        def of(row: NDArray[np.float32]) -> ArrayLike:
            x = torch.from_numpy(row.copy())
            result: torch.Tensor = function(x, *rest, **named)
            written.append(result is x)
            return result.numpy()

        with torch.inference_mode(False), torch.no_grad(), OwnNumbers(), torch.device("cpu"):
            return tried(of), any(written)

    return _kinds.of(key, find_out)


def _told(x: object) -> Hashable:
    return "learned" if isinstance(x, torch.Tensor) else repr(x)
