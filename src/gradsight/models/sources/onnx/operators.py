"""The operators of an ONNX graph as PyTorch layers, where onnx2pytorch's do not do. Loaded with the first file only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn

from gradsight.foreign import Module, Outputs
from gradsight.models.sources.onnx.protos import Node

Bounds: TypeAlias = "Sequence[int] | torch.Tensor"
"""Whole numbers, one for each axis."""

GIVEN: Any = Ellipsis
"""In place of an argument that comes at a run."""

_KEPT: Any = NotImplemented
REDUCTIONS: dict[str, Any] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
}


class Operator(nn.Module):
    """An operator with the constants among its arguments; its class is named as the operator is."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Keep the function and its arguments.

        Args:
            function: what runs.
            arguments: `GIVEN` for one that comes at a run, else its value, a tensor or not.
        """
        super().__init__()
        self.function = (function,)  # in a tuple: it is no layer of its own
        self.arguments: list[Any] = []
        for place, value in enumerate(arguments):
            self.arguments.append(value)
            if isinstance(value, torch.Tensor):
                self._keep(place, value)

    def _keep(self, place: int, value: torch.Tensor) -> None:
        self.arguments[place] = _KEPT
        self.register_buffer(f"constant_{place}", value)

    def bind(self, place: int, value: torch.Tensor) -> None:
        """Make a constant of the argument that is the ``place``-th of those given at a run."""
        self._keep([i for i, argument in enumerate(self.arguments) if argument is GIVEN][place], value)

    def constant(self, place: int) -> torch.Tensor | None:
        """The constant tensor at a place among all arguments, if there is one."""
        return self._buffers.get(f"constant_{place}")

    def given(self) -> int:
        """How many arguments come at a run."""
        return sum(argument is GIVEN for argument in self.arguments)

    def forward(self, *inputs: torch.Tensor) -> Outputs:
        """Run with the arguments of this run in their places."""
        given = iter(inputs)
        arguments = [self._filled(i, argument, given) for i, argument in enumerate(self.arguments)]
        return self.function[0](*arguments)

    def _filled(self, i: int, argument: object, given: Iterator[torch.Tensor]) -> object:
        """Argument ``i`` of a run: what comes at the run, what is kept as a buffer, or itself."""
        if argument is GIVEN:
            return next(given)
        return self._buffers[f"constant_{i}"] if argument is _KEPT else argument


def layer(node: Node, operator: Module, arguments: list[Any]) -> nn.Module:
    """The module of an operator: PyTorch's own where it has weights or is an activation."""
    kind, alone = node.op_type, len(node.output) == 1
    if (own := _own_layer(kind, operator, arguments) if alone else None) is not None:
        return own
    if kind == "Reshape" and (operator.shape is not None or arguments[1] is not GIVEN):
        shape = arguments[1] if operator.shape is None else operator.shape
        return named(kind, reshaping(shape, allow_zero=operator.allowzero), arguments[:1])
    function: Callable[..., Any] = functools.partial(_first, operator) if alone else operator
    if kind == "Concat":
        function = functools.partial(_together, operator)
    elif kind == "Gather":
        function = functools.partial(_gather, operator.dim)
    elif kind == "Slice":
        function = functools.partial(_slice, operator.dim, operator.starts, operator.ends)
    elif kind in REDUCTIONS and GIVEN not in arguments[1:]:
        axes = arguments[1] if len(arguments) > 1 else operator.dim
        if axes or not operator.noop_with_empty_axes:
            function = functools.partial(_reduced, REDUCTIONS[kind], axes or None, operator.keepdim)
            arguments = arguments[:1]
    return named(kind, function, arguments)


def _own_layer(kind: str, operator: Module, arguments: list[Any]) -> nn.Module | None:
    """What PyTorch has as a layer of its own."""
    if kind == "BatchNormalization" and not operator.has_lazy:
        return operator.bnu  # type: ignore[no-any-return]
    if kind == "LayerNormalization":
        return _layer_norm(operator, arguments)
    if kind == "Clip":
        return _rectifier(operator, arguments)
    if kind == "Dropout":
        return nn.Identity()
    if kind == "MaxPool":
        for pool in operator.modules():
            if hasattr(pool, "return_indices"):
                pool.return_indices = False
    own = isinstance(operator, nn.Sequential) or type(operator).__module__.startswith("torch.")
    return operator if own and all(argument is GIVEN for argument in arguments) else None


def named(kind: str, function: Callable[..., Any], arguments: Sequence[Any]) -> Operator:
    """An `Operator` of a class of that name."""
    return _class(kind)(function, arguments)


@functools.cache
def _class(kind: str) -> type[Operator]:
    return type(kind, (Operator,), {})


def _first(operator: Callable[..., Any], *arguments: torch.Tensor) -> torch.Tensor:
    result = operator(*arguments)
    first: torch.Tensor = result[0] if isinstance(result, tuple | list) else result
    return first


def _together(operator: Callable[..., Any], *parts: torch.Tensor) -> torch.Tensor:
    joined: torch.Tensor = operator(parts)
    return joined


def _reduced(
    function: Callable[..., Any], axes: int | Sequence[int] | None, keep: bool, x: torch.Tensor
) -> torch.Tensor:
    over = range(x.ndim) if axes is None else axes
    dims = (over,) if isinstance(over, int) else tuple(over)
    values = x.double() if function is torch.mean and not x.is_floating_point() else x
    reduced: torch.Tensor = function(values, dim=dims, keepdim=bool(keep))
    return reduced.trunc().to(x.dtype) if reduced.dtype != x.dtype else reduced


def _gather(axis: int, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """onnx2pytorch indexes with a list, which PyTorch is about to understand in another way."""
    where: list[Any] = [*[slice(None)] * (axis % x.ndim), indices.long()]
    return x[tuple(where)]


def _slice(axes: Bounds | None, starts: Bounds, ends: Bounds, x: torch.Tensor, *given: Bounds) -> torch.Tensor:
    """As above; the arguments came with the node until opset 10."""
    steps: Bounds | None = None
    if given:
        starts, ends = given[:2]
        axes, steps = (*given[2:], None, None)[:2]
    axes = range(len(starts)) if axes is None else axes
    for i, axis in enumerate(int(axis) % x.ndim for axis in axes):
        start, stop, step = slice(int(starts[i]), int(ends[i]), 1 if steps is None else int(steps[i])).indices(
            x.shape[axis]
        )
        if step > 0:
            x = x.narrow(axis, start, max(stop - start, 0))[(*[slice(None)] * axis, slice(None, None, step))]
        else:
            x = x.index_select(axis, torch.arange(start, stop, step, device=x.device))
    return x


def reshaping(shape: Sequence[int | None], *, allow_zero: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    """What gives a tensor a new shape, in which None, or 0 unless that is allowed, is the tensor's own size there."""
    sizes = [None if size is None or (size == 0 and not allow_zero) else int(size) for size in shape]

    def reshaped(x: torch.Tensor) -> torch.Tensor:
        return x.reshape([x.shape[i] if size is None else size for i, size in enumerate(sizes)])

    return reshaped


def _layer_norm(operator: Module, arguments: list[Any]) -> nn.Module | None:
    scale, bias = (*arguments[1:3], None)[:2]
    if not isinstance(scale, torch.Tensor) or bias is GIVEN or operator.axis != -1 or scale.ndim != 1:
        return None
    module = nn.LayerNorm(scale.shape, eps=operator.eps)
    module.weight.data, module.bias.data = scale, torch.zeros_like(scale) if bias is None else bias
    return module


def _rectifier(operator: Module, arguments: list[Any]) -> nn.Module | None:
    """A clipping whose constant lower limit is 0: guided backpropagation has to know rectifiers."""
    low, high = (*arguments[1:3], None, None)[:2]
    low, high = (low if low is not None else operator.min), (high if high is not None else operator.max)
    if low is GIVEN or high is GIVEN or low is None or float(low) != 0:
        return None
    if high is None:
        return nn.ReLU()
    return nn.ReLU6() if float(high) == 6 else nn.Hardtanh(0.0, float(high))
