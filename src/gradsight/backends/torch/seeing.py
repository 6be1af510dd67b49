"""Seeing attention as a view runs: every call's weights are a node of the graph, whatever module they are in."""

from __future__ import annotations

import contextlib
import math
import types
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradsight.foreign import Outputs

Function: TypeAlias = Callable[..., Outputs]


def _operators(*names: str) -> set[Hashable]:
    """PyTorch's own operators of these names, as exported programs call them: the plain ones and their overloads."""
    packets = [getattr(torch.ops.aten, name) for name in names if hasattr(torch.ops.aten, name)]
    return {*packets, *(getattr(packet, overload) for packet in packets for overload in packet.overloads())}


_PRODUCTS = {F.scaled_dot_product_attention, *_operators("scaled_dot_product_attention")}
_FLASH = _operators("_scaled_dot_product_flash_attention_for_cpu")  # what a decomposed program may hold; a pair
_SOFTMAX: set[Hashable] = {torch.softmax, F.softmax, torch.Tensor.softmax, torch.special.softmax}
_SOFTMAX |= _operators("softmax", "_softmax", "_safe_softmax")

# PyTorch hands the whole of this function over to a mode, so that what runs inside of it would not be seen: a copy of
# it whose own look for a mode finds none runs with the mode on.
_open_multi_head: Function = types.FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _tensors: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


class Seeing(TorchFunctionMode):
    """Within it, and in this thread, the weights of every attention are seen, and its outputs made of them.

    Fused attention gives no weights: it is computed in the open instead. PyTorch leaves the native paths of its
    transformer modules by itself where a mode is on.

    Attributes:
        weights: of each call, in the order they ran.
        unit: of rounding, of the lowest precision that attention was computed in.
    """

    def __init__(self, first: int | None = None) -> None:
        """Record a graph from call ``first`` on, counted from 0; None to record none, or leave it to the caller."""
        super().__init__()
        self.weights: list[torch.Tensor] = []
        self.unit = 0.0
        self._first, self._heads = first, 0

    def __torch_function__(
        self, func: Function, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Outputs:
        """See the weights where a function is attention; everything else goes its way."""
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        if func in _PRODUCTS and (args[0] if args else kwargs["query"]).ndim in (3, 4):
            return self._product(*args, **kwargs)[0]
        if func in _FLASH:
            behind = dict(zip(("dropout_p", "is_causal"), args[3:], strict=False))
            return self._product(*args[:3], **{**behind, **kwargs})
        result = func(*args, **kwargs)
        if func in _SOFTMAX and result.ndim in (3, 4) and _axis(args, kwargs) in (-1, result.ndim - 1):
            return self._softmax(result)
        return result

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outputs:
        heads = args[4] if len(args) > 4 else kwargs["num_heads"]
        before, self._heads = self._heads, heads
        try:
            with self:
                return _open_multi_head(*args, **kwargs)
        finally:
            self._heads = before

    def _softmax(self, weights: torch.Tensor) -> torch.Tensor:
        shape = weights.shape
        # Only here it is known how many of the rows are heads.
        if self._heads and len(shape) == 3:
            weights = weights.view(-1, self._heads, *shape[1:])
        # The model goes on with a copy: it may write into what it was given.
        return self._seen(weights, weights.dtype).clone().view(shape)

    def _product(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled dot product attention as its documentation defines it, and the logarithm of each row's sum.

        In float32 where the model is of a half precision, as the fused kernels sum too.
        """
        device, dtype = query.device.type, query.dtype
        casts = torch.is_autocast_enabled(device) and dtype != torch.float64
        if casts:
            dtype = torch.get_autocast_dtype(device)
        wide = torch.promote_types(dtype, torch.float32)
        with torch.autocast(device, enabled=False) if casts else contextlib.nullcontext():
            query, key, value = (x.to(dtype).to(wide) for x in (query, key, value))
            if enable_gqa:  # several heads of queries share one of keys
                key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
            scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
            scores = _masked(scores, attn_mask, is_causal)
            weights = self._seen(_shares(scores, masked=attn_mask is not None), dtype)
            attended = (F.dropout(weights, dropout_p) if dropout_p else weights) @ value
            return attended.to(dtype), scores.logsumexp(-1)

    def _seen(self, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Keep the weights of a call, as a node of the graph where one is recorded."""
        self.unit = max(self.unit, torch.finfo(dtype).eps)
        number = len(self.weights)
        if number == self._first:
            torch.set_grad_enabled(True)  # the model's own no_grad blocks restore their mode when they end
        if self._first is not None and number >= self._first and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        self.weights.append(weights)
        return weights


def _masked(scores: torch.Tensor, mask: torch.Tensor | None, is_causal: bool) -> torch.Tensor:
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)


def _shares(scores: torch.Tensor, *, masked: bool) -> torch.Tensor:
    """The softmax over keys; zeros in a row in which all keys are masked, as PyTorch's own has it."""
    shares = scores.softmax(-1)
    return shares.masked_fill(torch.isneginf(scores).all(-1, keepdim=True), 0.0) if masked else shares


def _axis(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """The axis of a softmax."""
    axis: int | None = args[1] if len(args) > 1 else kwargs.get("dim")
    return axis
