"""Large dense layers on the way back: few rows of gradients times all the weights, which are read once, and quickly."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradsight.backends.torch.graph import Node, topological
from gradsight.foreign import Outputs

_LARGE = 1 << 22
"""Weights from which on reading them is what a product costs: 16 MB, more than the nearest caches hold."""

_ROWS = range(4, 65)
"""How few rows of gradients leave a product bound by reading."""


def few_rows(scores: torch.Tensor) -> AbstractContextManager[object]:
    """Within it, products of few rows and large weights on the CPU take oneDNN's way, if the graph of scores has any.

    A batched backward pass makes one product of all targets and a layer's weights, which are read once. With ten rows
    the product of PyTorch's default library takes three times as long as the reading, oneDNN's twice. The sums are in
    another order, within rounding.
    """
    product = _product()
    if product is None or not any(_is_large(node) for node in topological(scores.grad_fn)):
        return nullcontext()
    return _FewRows(product)


def _is_large(node: Node) -> bool:
    """Whether a node of the graph is a dense layer with large weights."""
    shape = getattr(node, "_saved_mat2_sym_sizes", ()) if node.name().startswith("AddmmBackward") else ()
    return math.prod(shape) >= _LARGE


def _product() -> Callable[..., torch.Tensor] | None:
    """oneDNN's product of rows with transposed weights; None where PyTorch has none."""
    if not (torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()):
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class _FewRows(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, product: Callable[..., torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._product = product

    def __torch_dispatch__(
        self,
        func: Callable[..., Outputs],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Outputs:
        if func is torch.ops.aten.mm.default and _is_bound_by_reading(*args):
            return self._product(args[0], args[1].t(), None, "none", [], "")
        return func(*args, **(kwargs or {}))


def _is_bound_by_reading(rows: torch.Tensor, weights: torch.Tensor) -> bool:
    plain = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in (rows, weights))
    return plain and len(rows) in _ROWS and weights.numel() >= _LARGE
