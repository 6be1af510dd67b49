"""Where a module's output is to be tapped, so that whoever keeps it keeps the tapped one: found by one trial pass.

A hook may keep what its module gives, or put something else in its place; a module may keep what it gives. The rest of
the model may go on with either. A layer's output is what the module gives in the end, whoever holds that tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import nn

from gradsight.backends.torch.graph import Node, topological
from gradsight.backends.torch.memory import tensors_of
from gradsight.backends.torch.outputs import tensors_in
from gradsight.contracts import Part
from gradsight.foreign import Inputs, Outputs

Result: TypeAlias = tuple[Node | None, int]
"""A node of autograd's graph, and which of its results; None for what has no graph."""

Uses: TypeAlias = dict[Result, list[Node]]
"""By result, the nodes that use it."""


@dataclass(frozen=True)
class TapPoint:
    """Where the output of one call of a module is made.

    Attributes:
        module: the module by which it is made: this one, or one within it.
        call: which call of it.
        gap: 0 right after its forward; i + 1 after its i-th hook.
        kept: the tensor itself is kept somewhere, so that it is written into instead of replaced.
        refused: the rest of the model goes on with more than this tensor: with what a hook made of it before it gave
            it, or with other tensors of the same memory.
    """

    module: str
    call: int
    gap: int = 0
    kept: bool = False
    refused: bool = False


@dataclass(frozen=True)
class _Birth:
    """A tensor as it was made, and the copy that the model went on with; both may be written into later on.

    Attributes:
        point: where.
        copy: the copy.
        version: of the copy.
        made: the graph's node that made the tensor, and which of its results it is.
        copied: the node that made the copy.
        same: the call whose own output it is.
        is_argument: the module only hands it through: whatever else it goes to is no matter of this module's output.
        is_shared: it lies in the memory of an argument or a weight.
    """

    point: TapPoint
    copy: torch.Tensor
    version: int
    made: Result
    copied: Node | None
    same: tuple[str, int] | None
    is_argument: bool
    is_shared: bool

    def gave(self, output: torch.Tensor) -> bool:
        """Whether something is the copy, which nobody has written into."""
        return output is self.copy and output._version == self.version


class TapSearch:
    """A pass that sees where outputs are made; see `tap.Pass`.

    Every output is given as a copy. By whatever other way the model's outputs depend on it, it was kept. Nodes of the
    graph are numbered as they are made, which tells what was made of it before the copy from what was made after.
    """

    def __init__(self, hooked: Iterable[str], weights: Iterable[torch.Tensor]) -> None:
        """Look at modules, ``hooked`` ones among them, of a model with these ``weights``."""
        self._hooked = set(hooked)
        self._weights = set(map(_memory, weights))
        self._counts: dict[str, int] = {}
        self.parts: dict[str, Part] = {}  # as those of a `tap.Pass`; a later one tells them
        self._births: dict[tuple[str, int], list[_Birth]] = {}
        self._by_tensor: dict[int, tuple[str, int]] = {}

    def at(self, name: str, gap: int, _module: nn.Module, arguments: Inputs, output: torch.Tensor) -> torch.Tensor:
        """See an output at one gap, and give the model a copy where it is new there."""
        if gap == 0:
            self._counts[name] = self._counts.get(name, -1) + 1
        key = (name, self._counts.setdefault(name, 0))
        births = self._births.setdefault(key, [])
        if births and births[-1].gave(output):
            return output
        copy = output.clone() if output.is_floating_point() else output
        births.append(
            _Birth(
                point=TapPoint(*key, gap),
                copy=copy,
                version=copy._version,
                made=(output.grad_fn, output.output_nr),
                copied=copy.grad_fn,
                same=self._giver(output) if gap == 0 else None,
                is_argument=any(output is x for x in arguments),
                is_shared=_memory(output) in {*map(_memory, tensors_of(arguments)), *self._weights},
            )
        )
        self._by_tensor[id(copy)] = key
        return copy

    def _giver(self, output: torch.Tensor) -> tuple[str, int] | None:
        key = self._by_tensor.get(id(output))
        return key if key is not None and self._births[key][-1].gave(output) else None

    def points(self, outputs: Outputs) -> dict[tuple[str, int], TapPoint]:
        """The points that are not simply what forward gives."""
        used = _uses(outputs)
        own = {key: _resolved(births, used) for key, births in self._births.items()}
        points: dict[tuple[str, int], TapPoint] = {}
        for key, point in own.items():
            inner: tuple[str, int] | None = key
            while inner is not None:  # of calls that give one tensor, the innermost that counts
                if inner[0] in self._hooked or own[inner].kept:
                    points[key] = own[inner]
                birth = self._births[inner][-1]
                inner = None if birth.is_argument or birth.point.gap else birth.same
            if point != TapPoint(*key):
                points.setdefault(key, point)
        return points


def _resolved(births: list[_Birth], used: Uses) -> TapPoint:
    """Where a call's output is made in the end, and what becomes of it."""
    birth = births[-1]
    if birth.is_argument or birth.made[0] is None or birth.copied is None:
        return birth.point
    if len(births) > 1 and _number(birth.made[0]) <= _number(births[-2].copied):
        return birth.point  # a hook put something older in its place
    others = [x for x in used.get(birth.made, ()) if x is not birth.copied]
    inside = any(_number(x) < _number(birth.copied) for x in others)
    after = any(_number(x) > _number(birth.copied) for x in others)
    refused = (birth.point.gap > 0 and inside) or (after and birth.is_shared and birth.same is None)
    return replace(birth.point, kept=after, refused=refused)


def _memory(tensor: torch.Tensor) -> int:
    """Where a tensor lies; a number of its own for one without memory."""
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except (NotImplementedError, RuntimeError):  # sparse, or a wrapper around tensors
        return id(tensor)


def _number(node: Node | None) -> int:
    """When a node of the graph was made in this thread."""
    return -1 if node is None else int(node._sequence_nr())


def _uses(outputs: Outputs) -> Uses:
    """By node and which of its results, the nodes that use it on the way to a model's outputs."""
    ends = [x.float().sum() for x in tensors_in(outputs) if x.requires_grad and x.is_floating_point()]
    used: Uses = {}
    for node in topological(torch.stack(ends).sum().grad_fn) if ends else ():
        for child, number in node.next_functions:
            used.setdefault((child, number), []).append(node)
    return used
