"""How parts of a gradient pass what computes: sums, products, norms and activations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gradsight.backends.torch.graph import Node
from gradsight.backends.torch.outer import Outer, outer
from gradsight.backends.torch.part_layout import Passed, Rule, axis_of, saved
from gradsight.backends.torch.parts import Part, Refused, taken


def has_gradient(node: Node, number: int) -> bool:
    """Whether an argument of an operation is differentiated."""
    return node.next_functions[number][0] is not None


def _like(part: Part, value: torch.Tensor) -> Part:
    """A part at the same place."""
    return Part(value, part.shape, part.at)


def _sum(sign: int) -> Rule:
    def rule(node: Node, part: Part, _output: int) -> Passed:
        alpha = sign * saved(node, "alpha")
        second = part if alpha == 1 else _like(part, part.value * alpha)
        return [(0, part), (1, second)]

    return rule


def _multiplied(node: Node, part: Part, _output: int) -> Passed:
    passed: Passed = []
    for number, other in ((0, "other"), (1, "self")):
        if has_gradient(node, number):
            passed.append((number, _like(part, part.value * part.held(saved(node, other)))))
    return passed


def _divided(node: Node, part: Part, _output: int) -> Passed:
    if has_gradient(node, 1):
        raise Refused
    return [(0, _like(part, part.value / part.held(saved(node, "other"))))]


def _pointwise(name: str, slope: Callable[[Node, torch.Tensor, torch.Tensor], torch.Tensor]) -> Rule:
    """The rule of a function of single numbers: ``slope(node, gradient, what is kept)``."""

    def rule(node: Node, part: Part, _output: int) -> Passed:
        return [(0, _like(part, slope(node, part.value, part.held(saved(node, name)))))]

    return rule


def _gelu(node: Node, gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    spread = x.expand(gradient.shape)
    return torch.ops.aten.gelu_backward(gradient, spread, approximate=saved(node, "approximate"))  # type: ignore[no-any-return]


def _power(node: Node, gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    exponent: float = saved(node, "exponent")
    return gradient * (exponent * x.pow(exponent - 1))


def _silu(_node: Node, gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    gate = x.sigmoid()
    return gradient * (gate * (1 + x * (1 - gate)))


def _masked(node: Node, part: Part, _output: int) -> Passed:
    return [(0, _like(part, part.value.masked_fill(part.held(saved(node, "mask")), 0)))]


def _softmax(node: Node, part: Part, _output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape))
    if part.at[axis] is not None or part.is_whole:
        raise Refused
    weights = part.held(saved(node, "result"))
    return [(0, _like(part, through_softmax(part.value, weights, axis - len(part.shape))))]


def through_softmax(gradient: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    """The gradient by what a softmax along an axis made weights of."""
    product = gradient * weights
    return product - weights * product.sum(axis, keepdim=True)


def _product(matrix: str, number: int) -> Rule:
    """The rule of a matrix product whose other matrix is a weight, which has no gradient of its own."""

    def rule(node: Node, part: Part, _output: int) -> Passed:
        if has_gradient(node, number + 1):
            raise Refused
        weight = taken(saved(node, matrix), 1, part.at[1])
        alpha = getattr(node, "_saved_alpha", 1)
        value = _weighed(part, weight)
        shape, at = (part.shape[0], len(weight)), (part.at[0], None)
        return [(number, Part(value if alpha == 1 else value * alpha, shape, at))]

    return rule


def _linear(node: Node, part: Part, _output: int) -> Passed:
    if any(has_gradient(node, i) for i in range(1, len(node.next_functions))):
        raise Refused
    weight = taken(saved(node, "weight"), 0, part.at[-1]).t()
    return [(0, Part(_weighed(part, weight), (*part.shape[:-1], len(weight)), (*part.at[:-1], None)))]


def _weighed(part: Part, weight: torch.Tensor) -> torch.Tensor:
    """The product of the last axis with a weight (m, last): (k, *box[:-1], m)."""
    return part.numbers.weighed(weight) if isinstance(part.numbers, Outer) else part.numbers @ weight.t()


def _batched_product(node: Node, part: Part, _output: int) -> Passed:
    passed: Passed = []
    (matrices, rows, columns), (count, height, width) = part.at, part.shape
    if has_gradient(node, 0):
        second = saved(node, "mat2")
        if part.is_whole and second.stride(0) != 0:
            raise Refused  # attention to everything, which PyTorch does as well
        inner = second.shape[1]
        if second.stride(0) == 0:  # one weight for all
            value = _weighed(part, taken(second[0], 1, columns))
        else:
            value = torch.einsum("kbij,blj->kbil", part.value, taken(taken(second, 0, matrices), 2, columns))
        passed.append((0, Part(value, (count, height, inner), (matrices, rows, None))))
    if has_gradient(node, 1):
        first = taken(taken(saved(node, "self"), 0, matrices), 1, rows)
        # (1, b, l, 1, i) and (k, b, 1, j, i).
        numbers = outer(first.mT[None, :, :, None], part.value.mT[:, :, None])
        passed.append((1, Part(numbers, (count, first.shape[2], width), (matrices, None, columns))))
    return passed


def _layer_norm(node: Node, part: Part, _output: int) -> Passed:
    normalized = list(saved(node, "normalized_shape"))
    if any(index is not None for index in part.at[-len(normalized) :]):
        raise Refused
    gradient = part.value.contiguous()
    lead = gradient.shape[: -len(normalized)]
    x = part.held(saved(node, "input")).expand(gradient.shape).contiguous()
    mean, scale = (
        part.held(saved(node, name)).expand(*lead, *(1 for _ in normalized)).contiguous()
        for name in ("result1", "result2")
    )
    value, _, _ = torch.ops.aten.native_layer_norm_backward(
        gradient, x, normalized, mean, scale, saved(node, "weight"), saved(node, "bias"), [True, False, False]
    )
    return [(0, _like(part, value))]


ARITHMETIC: dict[str, Rule] = {
    "AddBackward": _sum(1),
    "SubBackward": _sum(-1),
    "MulBackward": _multiplied,
    "DivBackward": _divided,
    "NegBackward": lambda _node, part, _output: [(0, _like(part, -part.value))],
    "GeluBackward": _pointwise("self", _gelu),
    "SiluBackward": _pointwise("self", _silu),
    "PowBackward": _pointwise("self", _power),
    "ReluBackward": _pointwise("result", lambda _node, gradient, y: gradient * (y > 0)),
    "SigmoidBackward": _pointwise("result", lambda _node, gradient, y: gradient * (y * (1 - y))),
    "TanhBackward": _pointwise("result", lambda _node, gradient, y: gradient * (1 - y * y)),
    "MaskedFillBackward": _masked,
    "SoftmaxBackward": _softmax,
    "AddmmBackward": _product("mat2", 1),
    "MmBackward": _product("mat2", 0),
    "LinearBackward": _linear,
    "BmmBackward": _batched_product,
    "NativeLayerNormBackward": _layer_norm,
}
"""By the kind of an operation, as autograd names it."""

PRODUCTS = ("AddmmBackward", "MmBackward", "LinearBackward", "BmmBackward")
"""Operations that multiply each number of their gradient many times."""
