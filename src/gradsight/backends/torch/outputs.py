"""An output of a model as the start of a graph."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import is_dataclass

import torch
from torch.utils import _pytree as pytree

from gradsight.foreign import Outputs


def mapped(function: Callable[[torch.Tensor], torch.Tensor], outputs: Outputs) -> Outputs:
    """The same output with ``function(tensor)`` in the place of each tensor; called in order."""

    def change(x: object) -> object:
        if isinstance(x, torch.Tensor):
            return function(x)
        if not hasattr(x, "__dict__") or isinstance(x, type) or callable(x):
            return x
        other = copy.copy(x)  # an object of the user's own, such as a dataclass
        vars(other).update({name: pytree.tree_map(change, value) for name, value in vars(x).items()})
        return other

    return pytree.tree_map(change, outputs)


def tensors_in(outputs: Outputs) -> list[torch.Tensor]:
    """The tensors in an output, in order."""
    tensors: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        tensors.append(x)
        return x

    mapped(keep, outputs)
    return tensors


def flat(output: Outputs) -> list[object]:
    """What is in an output of a module: a tensor, or a tuple, list, dict or dataclass of them."""
    values = pytree.tree_leaves(output)
    opened = [flat(vars(x)) if is_dataclass(x) and hasattr(x, "__dict__") else [x] for x in values]
    return [x for some in opened for x in some]


def private(outputs: Outputs) -> Outputs:
    """The same output with tensors of its own, for a function that may write into them."""
    return mapped(torch.Tensor.clone, outputs)


def with_leaves(outputs: Outputs) -> tuple[Outputs, list[torch.Tensor]]:
    """The same output with leaves of a graph in the place of its floating-point tensors, and these, in their order."""
    leaves: list[torch.Tensor] = []

    def fresh(x: torch.Tensor) -> torch.Tensor:
        if not x.is_floating_point():
            return x
        leaves.append(x.detach().requires_grad_())
        return leaves[-1]

    return mapped(fresh, outputs), leaves
