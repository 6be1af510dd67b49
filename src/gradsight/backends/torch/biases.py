"""What each module of a model adds to a score by itself: the terms of FullGrad (arXiv:1905.00780, proposition 1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from gradsight.backends.torch.tap import Tap
from gradsight.layouts import layouts


@dataclass(frozen=True)
class _Added:
    """A module's output, and the part of it that is not linear in its input."""

    output: torch.Tensor
    bias: torch.Tensor


class Biases:
    """One forward pass in which every innermost module's own contribution was seen.

    Attributes:
        added: one for each call of a module that added something.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        run: Callable[[dict[str, Tap]], torch.Tensor],
        size: tuple[int, ...],
        ops: Any,
    ) -> None:
        """Run once.

        Args:
            modules: the modules of a view that is this run's own.
            run: one forward pass with the given taps, from the input's leaf to the scores (n, k).
            size: the positions of the input.
            ops: array functions.
        """
        self.added: list[_Added] = []
        self._size, self._ops = size, ops
        leaves = [name for name, module in modules.items() if name and next(module.children(), None) is None]
        for name in leaves:
            if hasattr(modules[name], "inplace"):
                vars(modules[name])["inplace"] = False  # its input has to be there when it has run
        self._scores = run(dict.fromkeys(leaves, self._see))

    def _see(self, _name: str, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        if not output.requires_grad or getattr(module, "bias", module) is None:
            return output
        bias = output.detach() - _linear_part(module, arguments)
        if bias.any():
            self.added.append(_Added(output, bias))
        return output.clone()

    def terms(self, target: int) -> Iterator[torch.Tensor]:
        """The gradient of each output times its bias: (n, c, *s), or (n, c) for an output without positions."""
        outputs = [added.output for added in self.added]
        score = self._scores[:, target].sum()
        grads = torch.autograd.grad(score, outputs, retain_graph=True, allow_unused=True)
        for added, grad in zip(self.added, grads, strict=True):
            if grad is not None:
                yield self._folded(grad * added.bias)

    def _folded(self, term: torch.Tensor) -> torch.Tensor:
        found = layouts(term.shape, len(term), self._size)
        return found[0].fold(term, self._ops) if found else term.flatten(1)


def _linear_part(module: nn.Module, arguments: Any) -> torch.Tensor:
    """The derivative of a module in the direction of its own input: all of its output, where it is linear."""
    given = [i for i, x in enumerate(arguments) if isinstance(x, torch.Tensor) and x.is_floating_point()]

    def function(*tensors: torch.Tensor) -> Any:
        filled = list(arguments)
        for i, tensor in zip(given, tensors, strict=True):
            filled[i] = tensor
        return module.forward(*filled)

    with warnings.catch_warnings():  # PyTorch's own table of derivatives is made with its deprecated compiler
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._decomp.decompositions_for_jvp")
    point = tuple(arguments[i].detach() for i in given)
    along: torch.Tensor = torch.func.jvp(function, point, point)[1]
    return along.detach()
