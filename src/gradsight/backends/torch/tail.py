"""The model from a layer on, as a graph of its own: no stem, no hook, any batch size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

# Tracing patches process-wide state of torch.fx; running a traced graph does not.
_tracing = threading.Lock()

# The stem is traced on inputs filled with this. A node that makes such an input and is still needed in the end shows
# that something bypasses the layer. No model fills a tensor with it.
_MARK = -7.25e-31


def trace_tail(
    run: Callable[[Any, torch.Tensor], Any], inputs: Any, activations: torch.Tensor, batch_axis: int, *, linked: bool
) -> torch.fx.GraphModule | None:
    """Trace what the model computes from ``activations`` on.

    Args:
        run: ``(inputs, activations) -> outputs``: the model with its layer's output replaced.
        inputs: a batch, for shapes and types only.
        activations: the layer's output for it.
        batch_axis: the axis of ``activations`` that counts images.
        linked: the stem's batch size is the activations'. The tail may read it there (``x.view(inputs.shape[0], -1)``),
            but a stem that makes a plain number of it (``len(x)``) fixes it for the tail too, unless it is not linked.

    Returns:
        A module ``activations -> outputs`` for contiguous activations of any batch size, or None where the tail is no
        function of the activations alone.
    """
    leaves, spec = pytree.tree_flatten(inputs)
    blank = [isinstance(x, torch.Tensor) and x.ndim > 0 for x in leaves]

    def forward(z: torch.Tensor) -> Any:
        m = z.shape[batch_axis] if linked else 1
        fed = [_blank(x, m) if is_blank else x for x, is_blank in zip(leaves, blank, strict=True)]
        return run(pytree.tree_unflatten(fed, spec), z)

    # Sizes that are equal in the example are taken for one and the same, so the example's batch has a size of its own.
    sizes = {size for x in (activations, *leaves) if isinstance(x, torch.Tensor) for size in x.shape}
    batch = next(size for size in (2, 3, 5, 7, 11, 13, 17, 19, 23) if size not in sizes)
    example = activations.detach().narrow(batch_axis, 0, 1)
    example = torch.cat([example] * batch, dim=batch_axis).contiguous()
    with _tracing, torch.no_grad():
        traced = make_fx(forward, tracing_mode="symbolic", _allow_non_fake_inputs=True)(example)
    _erase_stem(traced)
    whole = [x for x, is_blank in zip(leaves, blank, strict=True) if is_blank and not x.is_floating_point()]
    return None if any(_makes_input(node, whole) for node in traced.graph.nodes) else traced


def _erase_stem(traced: torch.fx.GraphModule) -> None:
    """Erase every node that the output does not need. Of writes, those on values made from the activations stay."""
    made: set[torch.fx.Node] = set()
    for node in traced.graph.nodes:
        tensors = (x for x in node.all_input_nodes if isinstance(x.meta.get("val"), torch.Tensor))
        if node.op == "placeholder" or any(x in made for x in tensors):
            made.add(node)

    def has_effect(node: torch.fx.Node) -> bool:
        writes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        return node.op in ("placeholder", "output") or (writes and node in made)

    traced.graph.eliminate_dead_code(has_effect)
    traced.recompile()


def _blank(x: torch.Tensor, m: Any) -> torch.Tensor:
    fill = _MARK if x.is_floating_point() else 0
    return torch.full((m, *x.shape[1:]), fill, dtype=x.dtype, device=x.device)


def _makes_input(node: torch.fx.Node, whole: list[torch.Tensor]) -> bool:
    """Whether a node makes one of the blank inputs; whole-numbered ones (token ids) are told by their shape."""
    if node.target is not torch.ops.aten.full.default:
        return False
    value = node.meta["val"]
    return bool(node.args[1] == _MARK) or any(value.shape[1:] == x.shape[1:] and value.dtype == x.dtype for x in whole)
