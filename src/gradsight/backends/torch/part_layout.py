"""How parts of a gradient pass what only moves numbers: views, permutations, selections, concatenations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradsight.backends.torch.graph import Node
from gradsight.backends.torch.parts import Part, Refused, reshaped

Passed: TypeAlias = list[tuple[int, Part]]
"""For arguments of an operation, by their numbers, a part of their gradient."""

Rule: TypeAlias = Callable[[Node, Part, int], Passed]
"""``(node, part, output) -> ...``: how a part of the gradient of one of a node's outputs passes it."""

Kept: TypeAlias = Any
"""A tensor, a number or a list of them."""


def saved(node: Node, name: str) -> Kept:
    """What autograd keeps of an operation."""
    return getattr(node, f"_saved_{name}")


def argument_shape(node: Node, number: int) -> tuple[int, ...]:
    """The shape of an argument that has a gradient."""
    before, output = node.next_functions[number]
    if before is None:
        raise Refused
    return output_shape(before, output)


def output_shape(node: Node, output: int) -> tuple[int, ...]:
    """The shape of what an operation gave."""
    return tuple(node._input_metadata[output].shape)


def axis_of(dim: int, count: int) -> int:
    """An axis as autograd keeps it, negative ones without their sign."""
    return (dim - 2**64 if dim >= 2**63 else dim) % count


def _view(node: Node, part: Part, _output: int) -> Passed:
    return [(0, reshaped(part, saved(node, "self_sym_sizes")))]


def _same(_node: Node, part: Part, _output: int) -> Passed:
    return [(0, part)]


def _unsqueeze(node: Node, part: Part, _output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape))
    return [(0, reshaped(part, part.shape[:axis] + part.shape[axis + 1 :]))]


def _cast(node: Node, part: Part, _output: int) -> Passed:
    before, output = node.next_functions[0]
    dtype = before._input_metadata[output].dtype  # type: ignore[union-attr]
    return [(0, Part(part.numbers.to(dtype), part.shape, part.at))]


def _permute(part: Part, order: Sequence[int]) -> Passed:
    """The part where the axes lie in this order."""
    numbers = part.numbers.permute(0, *(i + 1 for i in order))
    return [(0, Part(numbers, tuple(part.shape[i] for i in order), tuple(part.at[i] for i in order)))]


def _transpose(node: Node, part: Part, _output: int) -> Passed:
    order = list(range(len(part.shape)))
    first, second = (axis_of(saved(node, name), len(order)) for name in ("dim0", "dim1"))
    order[first], order[second] = second, first
    return _permute(part, order)


def _matrix_transpose(_node: Node, part: Part, _output: int) -> Passed:
    return _permute(part, range(len(part.shape))[::-1])


def _permutation(node: Node, part: Part, _output: int) -> Passed:
    dims = [axis_of(dim, len(part.shape)) for dim in saved(node, "dims")]
    # The way back is the inverse permutation.
    return _permute(part, [int(i) for i in np.argsort(dims)])


def _expand(node: Node, part: Part, _output: int) -> Passed:
    shape = tuple(saved(node, "self_sym_sizes"))
    lead = len(part.shape) - len(shape)
    # Where a tensor was spread, the gradients of all its copies add up.
    spread = [i for i, size in enumerate((1,) * lead + shape) if size != part.shape[i]]
    numbers = part.value.sum([i + 1 for i in spread], keepdim=True) if spread else part.numbers
    at = tuple(None if i in spread else index for i, index in enumerate(part.at))
    ones = tuple(1 if i in spread else size for i, size in enumerate(part.shape))
    return [(0, reshaped(Part(numbers, ones, at), shape))]


def _within(part: Part, axis: int, size: int, places: range) -> Part:
    """The part in a tensor of which it had only these places along an axis."""
    index, inside = np.array(places, dtype=np.intp), part.at[axis]
    if inside is not None:
        index = index[inside]
    at = (*part.at[:axis], None if len(index) == size else index, *part.at[axis + 1 :])
    return Part(part.numbers, (*part.shape[:axis], size, *part.shape[axis + 1 :]), at)


def _select(node: Node, part: Part, _output: int) -> Passed:
    shape = tuple(saved(node, "self_sym_sizes"))
    # PyTorch keeps a negative number as the unsigned one of 64 bits.
    axis, index = axis_of(saved(node, "dim"), len(shape)), saved(node, "index") % 2**64
    return [(0, _placed(part, axis, shape[axis], axis_of(index, shape[axis])))]


def _placed(part: Part, axis: int, size: int, place: int) -> Part:
    """The part in a tensor that has one more axis, at one place along it."""
    numbers = part.numbers.unsqueeze(axis + 1)
    inside = Part(numbers, (*part.shape[:axis], 1, *part.shape[axis:]), (*part.at[:axis], None, *part.at[axis:]))
    return _within(inside, axis, size, range(place, place + 1))


def _unbind(node: Node, part: Part, output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape) + 1)
    return [(0, _placed(part, axis, len(node._input_metadata), output))]


def _slice(node: Node, part: Part, _output: int) -> Passed:
    shape = tuple(saved(node, "self_sym_sizes"))
    axis = axis_of(saved(node, "dim"), len(shape))
    chosen = slice(saved(node, "start"), saved(node, "end"), saved(node, "step"))
    return [(0, _within(part, axis, shape[axis], range(shape[axis])[chosen]))]


def _split(node: Node, part: Part, output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape))
    outputs = range(len(node._input_metadata))
    sizes = [output_shape(node, i)[axis] for i in outputs]
    start = sum(sizes[:output])
    return [(0, _within(part, axis, sum(sizes), range(start, start + sizes[output])))]


def _index(node: Node, part: Part, _output: int) -> Passed:
    """One list of rising places along one axis; others are refused."""
    shape, indices = tuple(saved(node, "self_sym_sizes")), saved(node, "indices")
    (asked,) = [(i, x) for i, x in enumerate(indices) if x is not None] if _is_one(indices) else [(0, None)]
    axis, places = asked
    if places is None or places.ndim != 1 or places.is_floating_point() or len(part.shape) != len(shape):
        raise Refused
    index = places.cpu().numpy() % shape[axis]
    # A place that is taken twice would get two gradients, which add up.
    if part.at[axis] is not None or not (np.diff(index) > 0).all():
        raise Refused
    return [(0, Part(part.value, shape, (*part.at[:axis], index, *part.at[axis + 1 :])))]


def _is_one(indices: Sequence[object]) -> bool:
    return sum(x is not None for x in indices) == 1


def _cat(node: Node, part: Part, _output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape))
    passed: Passed = []
    start = 0
    for number in range(len(node.next_functions)):
        shape = argument_shape(node, number)  # that of one without a gradient is not kept
        piece = _cut(part, axis, start, shape)
        passed += [] if piece is None else [(number, piece)]
        start += shape[axis]
    return passed


def _stack(node: Node, part: Part, _output: int) -> Passed:
    axis = axis_of(saved(node, "dim"), len(part.shape))
    one = (*part.shape[:axis], 1, *part.shape[axis + 1 :])
    pieces = ((i, _cut(part, axis, i, one)) for i in range(len(node.next_functions)))
    return [(i, reshaped(x, (*one[:axis], *one[axis + 1 :]))) for i, x in pieces if x is not None]


def _cut(part: Part, axis: int, start: int, shape: tuple[int, ...]) -> Part | None:
    """What a part has of the tensor of this shape that starts there along an axis; None for nothing."""
    index, size = part.at[axis], shape[axis]
    if index is None:
        return Part(part.value.narrow(axis + 1, start, size), shape, part.at)
    inside = (index >= start) & (index < start + size)
    if not inside.any():
        return None
    first = int(inside.argmax())
    value, places = part.value.narrow(axis + 1, first, int(inside.sum())), index[inside] - start
    at = None if len(places) == size else places
    return Part(value, shape, (*part.at[:axis], at, *part.at[axis + 1 :]))


LAYOUT: dict[str, Rule] = {
    "ViewBackward": _view,
    "UnsafeViewBackward": _view,
    "ReshapeAliasBackward": _view,
    "SqueezeBackward": _view,
    "UnsqueezeBackward": _unsqueeze,
    "CloneBackward": _same,
    "AliasBackward": _same,
    "ToCopyBackward": _cast,
    "TransposeBackward": _transpose,
    "TBackward": _matrix_transpose,
    "PermuteBackward": _permutation,
    "ExpandBackward": _expand,
    "SelectBackward": _select,
    "UnbindBackward": _unbind,
    "SliceBackward": _slice,
    "SplitBackward": _split,
    "SplitWithSizesBackward": _split,
    "IndexBackward": _index,
    "CatBackward": _cat,
    "StackBackward": _stack,
}
"""By the kind of an operation, as autograd names it."""

NARROWING = ("SelectBackward", "SliceBackward", "IndexBackward")
"""Operations that leave most of a tensor out."""
