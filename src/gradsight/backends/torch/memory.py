"""Tensors in what there is, and their memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradsight.errors import ModelError
from gradsight.foreign import Inputs


def same_memory(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as a tensor that asks for no gradient, and that a graph may hold.

    What was made in inference mode may be in no graph, and a copy of it would not follow when it changes.
    """
    if not tensor.is_inference():
        return tensor.detach()
    where = (tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(*where)


def shares_memory(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Whether two tensors are the same numbers in the same memory."""
    try:
        return tensor.is_set_to(alias)
    except (RuntimeError, TypeError):  # of a kind without memory of its own: a wrapper around tensors, or a sparse one
        inside = getattr(tensor, "__tensor_flatten__", None)
        if inside is None or type(tensor) is not type(alias):
            return False
        return all(shares_memory(getattr(tensor, name), getattr(alias, name)) for name in inside()[0])


def tensors_of(inputs: Inputs) -> Iterator[torch.Tensor]:
    """The tensors of a model's input: one, or those of a tuple, list or dict."""
    if isinstance(inputs, torch.Tensor):
        return iter((inputs,))
    return (leaf for leaf in torch.utils._pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor))


def example_of(tensors: list[torch.Tensor]) -> torch.Tensor:
    """What inputs are to be like: of the model's tensors the first floating one."""
    real = [x for x in tensors if not x.is_meta]
    if tensors and not real:
        raise ModelError(
            "the model is on the meta device, where tensors have no values. Load its weights on a real one: "
            "model.to_empty(device='cpu'), then model.load_state_dict(...)."
        )
    return next((x for x in real if x.is_floating_point()), torch.empty(0, device=real[0].device if real else None))
