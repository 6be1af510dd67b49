"""Reading what a model gives: a tensor, a dict, a tuple, or a Hugging Face output object."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

_SCORE_KEYS = ("logits", "out", "scores", "output", "predictions")


def scores_in(outputs: Any) -> torch.Tensor | None:
    """The tensor of class scores in a model's output, (n, classes); None where there is none.

    In a dict, a named tuple or an object it is the entry called logits (or as in `_SCORE_KEYS`), whatever comes first;
    without such a name, the first tensor of a dict, and of a tuple or list, also a nested one, the first tensor that
    could be class scores: of ``(features, logits)`` the logits if the features have positions, but the features if
    they are (n, c) too. ``targets`` as a function of the output settles it otherwise.

    A number for each image counts as one class, and so do class scores with positions of size one behind them.
    """
    found = map(_as_scores, _tensors_in(outputs))
    return next((scores for scores in found if scores is not None), None)


def dense_in(outputs: Any) -> torch.Tensor | None:
    """The tensor of class scores at positions, (n, classes, rows, columns); None where there is none."""
    return next((x for x in _tensors_in(outputs, every=True) if _has_positions(x, 2)), None)


def sequence_in(outputs: Any) -> torch.Tensor | None:
    """The tensor of class scores at places of a sequence, (n, length, classes); None where there is none."""
    return next((x for x in _tensors_in(outputs, every=True) if _has_positions(x, 1)), None)


def _has_positions(tensor: torch.Tensor, axes: int) -> bool:
    return tensor.is_floating_point() and tensor.ndim == 2 + axes and (axes == 1 or tensor.shape[2:].numel() > 1)


def _as_scores(tensor: torch.Tensor) -> torch.Tensor | None:
    if not tensor.is_floating_point() or tensor.ndim == 0:
        return None
    if tensor.ndim == 1:
        return tensor[:, None]
    if all(size == 1 for size in tensor.shape[2:]):
        return tensor.flatten(1)
    return None


def _tensors_in(outputs: Any, *, every: bool = False) -> Iterator[torch.Tensor]:
    """The tensors that may be the scores, the likeliest first; of those with names that one alone, or ``every`` one."""
    if isinstance(outputs, torch.Tensor):
        yield outputs
        return
    mapping = isinstance(outputs, Mapping)  # as Hugging Face outputs are
    entries = [outputs.get(key) if mapping else getattr(outputs, key, None) for key in _SCORE_KEYS]
    entries += outputs.values() if mapping else ()
    tensors = [x for x in entries if isinstance(x, torch.Tensor)]
    if tensors:
        yield from tensors if every else tensors[:1]
    elif isinstance(outputs, list | tuple):
        for x in outputs:
            if not (isinstance(x, Mapping) and "boxes" in x):  # a detector's predictions for one image
                yield from _tensors_in(x, every=every)


def with_leaves(outputs: Any) -> tuple[Any, list[torch.Tensor]]:
    """The same output with leaves of a graph in the place of its floating-point tensors, and these, in their order."""
    leaves: list[torch.Tensor] = []

    def fresh(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            if not x.is_floating_point():
                return x
            leaves.append(x.detach().requires_grad_())
            return leaves[-1]
        if not hasattr(x, "__dict__") or isinstance(x, type) or callable(x):
            return x
        other = copy.copy(x)  # an object of the user's own, such as a dataclass
        vars(other).update({name: pytree.tree_map(fresh, value) for name, value in vars(x).items()})
        return other

    return pytree.tree_map(fresh, outputs), leaves


def describe(outputs: Any) -> str:
    """A model's output in words: its type, and shapes where it has any."""
    if isinstance(outputs, torch.Tensor):
        return f"a tensor of shape {tuple(outputs.shape)}, dtype {outputs.dtype}"
    if isinstance(outputs, Mapping):
        return f"{type(outputs).__name__} with {', '.join(f'{k}: {describe(v)}' for k, v in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"{type(outputs).__name__} of {', '.join(map(describe, outputs)) or 'nothing'}"
    return type(outputs).__name__
