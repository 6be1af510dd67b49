"""What each module of a model adds to a score by itself: the terms of FullGrad (arXiv:1905.00780, section 3)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils import _pytree as pytree

from gradsight.backends.snapshot import Snapshot
from gradsight.backends.torch.gradients import with_gradient
from gradsight.errors import ModelError
from gradsight.foreign import Inputs, Ops, Outputs
from gradsight.layouts import MIXED_ROWS, Layout
from gradsight.locks import Lock

_forwards = Lock()
"""Levels of forward derivatives are the process's: those of two threads would end each other's."""

_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)


Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""What a module is called with: by position and by name."""


@dataclass(frozen=True)
class _Added:
    """A module's output, and the part of it that is not linear in its input."""

    call: str
    output: torch.Tensor
    bias: torch.Tensor


class Biases:
    """One forward pass in which every innermost module's own contribution was seen.

    Attributes:
        added: one for each call of a module that added something.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        run: Callable[[], torch.Tensor],
        layouts: Callable[[str, Sequence[int]], Sequence[Layout]],
        count: int,
        size: tuple[int, ...],
        ops: Ops,
    ) -> None:
        """Run once.

        Args:
            modules: the modules of a view that is this run's own, by name: they get hooks.
            run: one forward pass, from the input's leaf to the scores (n, k).
            layouts: from a call, ``name#0`` the first, and its output's shape to the layouts that it may have.
            count: how many images go in.
            size: the positions of the input.
            ops: array functions.
        """
        self.added: list[_Added] = []
        self._arguments: dict[nn.Module, Arguments] = {}
        self._calls: dict[str, int] = {}
        self._names = {module: name for name, module in modules.items()}
        self._layouts, self._count, self._size, self._ops = layouts, count, size, ops
        hooks = []
        # Innermost ones alone: what a block adds is what the modules in it add.
        for module in modules.values():
            if next(module.children(), None) is None:
                hooks.append(module.register_forward_pre_hook(self._keep, with_kwargs=True))
                hooks.append(module.register_forward_hook(self._see, with_kwargs=True))
        self._scores = run()
        for hook in hooks:  # which would keep this, with all that was seen, as long as this keeps the modules
            hook.remove()

    def _keep(self, module: nn.Module, arguments: tuple[Inputs, ...], keywords: dict[str, Inputs]) -> None:
        """Keep what a module is given as it is now: it may write into it."""
        kept: Arguments = (arguments, keywords)
        if not isinstance(module, _LINEAR):
            kept = pytree.tree_map(lambda x: x.detach().clone() if isinstance(x, torch.Tensor) else x, kept)
        self._arguments[module] = kept

    def _see(self, module: nn.Module, *call: Any) -> Outputs:
        arguments, output, name = self._arguments.pop(module), call[-1], self._names[module]
        self._calls[name] = self._calls.get(name, -1) + 1
        values, spec = pytree.tree_flatten(output)
        main = next((i for i, x in enumerate(values) if isinstance(x, torch.Tensor) and x.requires_grad), None)
        if main is None or (isinstance(module, _LINEAR) and module.bias is None):
            return output
        whole = values[main]
        state = Snapshot()
        state.add(vars(module))  # it may keep what it gives, and here it runs for once more
        bias = whole.detach() - _linear_part(module.forward, arguments, main)
        state.restore()
        real = _more_than_rounding(bias, whole.detach())
        if real.any():
            self.added.append(_Added(f"{name}#{self._calls[name]}", whole, bias.where(real, 0)))
        # The graph goes on with a copy: what follows may write into it, and the gradient would be of what it wrote.
        values[main] = whole.clone()
        return pytree.tree_unflatten(values, spec)

    def terms(self, target: int) -> Iterator[torch.Tensor]:
        """The gradient of each output times its bias: (n, c, *s), or (n, c) for an output without positions."""
        outputs = [added.output for added in self.added]
        if not outputs:
            return
        with with_gradient():
            score = self._scores[:, target].sum()
            grads = torch.autograd.grad(score, outputs, retain_graph=True, allow_unused=True)
        for added, grad in zip(self.added, grads, strict=True):
            if grad is not None:
                yield self._folded(added.call, grad * added.bias)

    def _folded(self, call: str, term: torch.Tensor) -> torch.Tensor:
        fitting = self._layouts(call, term.shape)
        if fitting:
            folded: torch.Tensor = fitting[0].fold(term, self._ops)
            return folded
        frames = self._size[0] if len(self._size) == 3 else 1
        if math.prod(term.shape[2:]) > 1 and term.ndim > 3 and len(term) not in (self._count, self._count * frames):
            raise ModelError(f"a module gives {len(term)} rows for {self._count} image(s). {MIXED_ROWS}")
        return term.reshape(self._count, -1) if len(term) % self._count == 0 else term.flatten(1)


def _more_than_rounding(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """For which rows, (n, 1 ...), a part of an output is more than what rounding makes of it, or no number."""
    axes = tuple(range(1, whole.ndim))
    most, rounding = (x.abs().amax(axes, keepdim=True) if axes else x.abs() for x in (part, whole))
    return ~(most <= 4 * torch.finfo(whole.dtype).eps * rounding)


def _linear_part(forward: Callable[..., Outputs], arguments: Arguments, main: int) -> torch.Tensor:
    """The derivative of a module's output in the direction of its own input: all of it, where the module is linear.

    Args:
        forward: what the module computes.
        arguments: of its call.
        main: which of the tensors that it gives.
    """
    values, spec = pytree.tree_flatten(arguments)
    moving = [i for i, x in enumerate(values) if isinstance(x, torch.Tensor) and x.is_floating_point()]

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        filled = list(values)
        for i, tensor in zip(moving, tensors, strict=True):
            filled[i] = tensor.clone()
        positional, keywords = pytree.tree_unflatten(filled, spec)
        output: torch.Tensor = pytree.tree_leaves(forward(*positional, **keywords))[main]
        return output

    return along_itself(function, [values[i].detach() for i in moving])


def along_itself(function: Callable[..., torch.Tensor], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The derivative of a function of tensors in the direction of these tensors."""
    _load_derivatives()
    with _forwards:
        along: torch.Tensor = torch.func.jvp(function, tuple(tensors), tuple(tensors))[1]
    return along.detach()


@cache
def _load_derivatives() -> None:
    """Load PyTorch's table of forward derivatives, once: it is made with PyTorch's own deprecated compiler."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # the latter from 2.15 on
            warnings.simplefilter("ignore", category)
        import_module("torch._decomp.decompositions_for_jvp")
