"""Where a module's output is to be tapped, so that whoever keeps it keeps the tapped one: found by one trial pass.

A hook may keep what its module gives, or put something else in its place; a module may keep what it gives. The rest of
the model may go on with either. A layer's output is what the module gives in the end, whoever holds that tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from gradsight.backends.torch.graph import topological
from gradsight.backends.torch.memory import tensors_of
from gradsight.backends.torch.outputs import mapped


@dataclass(frozen=True)
class Place:
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
    """A tensor as it was made, and the copy that the model went on with."""

    place: Place
    made: torch.Tensor
    given: torch.Tensor
    start: int  # of the graph's nodes that a hook made, the first is later than this
    same: tuple[str, int] | None  # the call within this one that gave it
    is_shared: bool  # it lies in the memory of an argument or a weight

    @property
    def version(self) -> int:
        return self.given._version


class Trial:
    """A pass that sees where outputs are made; see `tap.Gate`.

    Every output is given as a copy. Whatever else the score reaches it by was kept: nodes of the graph are numbered as
    they are made, which tells what was kept before the copy from what was kept after.
    """

    def __init__(self, hooked: Iterable[str], weights: Iterable[torch.Tensor]) -> None:
        """Look at modules, ``hooked`` ones among them, of a model with these ``weights``."""
        self._hooked = set(hooked)
        self._weights = set(map(_memory, weights))
        self._counts: dict[str, int] = {}
        self._latest: dict[tuple[str, int], _Birth] = {}
        self._versions: dict[tuple[str, int], int] = {}
        self._by_tensor: dict[int, tuple[str, int]] = {}

    def at(self, name: str, gap: int, _module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """See an output at one gap, and give the model a copy where it is new there."""
        if gap == 0:
            self._counts[name] = self._counts.get(name, -1) + 1
        key = (name, self._counts[name])
        before = self._latest.get(key)
        if gap > 0 and before is not None and output is before.given and output._version == self._versions[key]:
            return output
        same = None if gap or any(output is x for x in arguments) else self._giver(output)
        given = output.clone() if output.is_floating_point() else output
        start = -1 if gap == 0 or before is None else _number(before.given.grad_fn)
        shared = _memory(output) in {*map(_memory, tensors_of(arguments)), *self._weights}
        self._latest[key] = _Birth(Place(name, key[1], gap), output, given, start, same, shared)
        self._versions[key] = given._version
        self._by_tensor[id(given)] = key
        return given

    def _giver(self, output: torch.Tensor) -> tuple[str, int] | None:
        """The call that gave this very tensor, if nobody has written into it."""
        key = self._by_tensor.get(id(output))
        if key is None or self._latest[key].given is not output or self._versions[key] != output._version:
            return None
        return key

    def places(self, outputs: Any) -> dict[tuple[str, int], Place]:
        """The places that are not simply what forward gives."""
        used = _uses(outputs)
        own = {key: self._settled(birth, used) for key, birth in self._latest.items()}
        found = {}
        for key, birth in self._latest.items():
            inner, last = birth, key
            while inner.place.gap == 0 and inner.same is not None:
                last = inner.same
                inner = self._latest[last]
                if last[0] in self._hooked or own[last].kept:
                    found[key] = own[last]
            if key not in found and (own[key] != Place(*key) or key[0] in self._hooked):
                found[key] = own[key]
        return found

    def _settled(self, birth: _Birth, used: dict[Any, list[Any]]) -> Place:
        node, copy = birth.made.grad_fn, birth.given.grad_fn
        if node is None or copy is None or birth.given is birth.made:
            return birth.place
        others = [x for x in used.get((node, birth.made.output_nr), ()) if x is not copy]
        if birth.place.gap and _number(node) <= birth.start:  # the hook put something older in its place
            return birth.place
        inside = any(_number(x) < _number(copy) for x in others)
        after = any(_number(x) > _number(copy) for x in others)
        refused = (birth.place.gap > 0 and inside) or (after and birth.is_shared and birth.same is None)
        return replace(birth.place, kept=after, refused=refused)


def _memory(tensor: torch.Tensor) -> int:
    """Where a tensor lies; a number of its own for one without memory."""
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except (NotImplementedError, RuntimeError):  # sparse, or a wrapper around tensors
        return id(tensor)


def _number(node: Any) -> int:
    """When a node of the graph was made in this thread."""
    return -1 if node is None else int(node._sequence_nr())


def _uses(outputs: Any) -> dict[Any, list[Any]]:
    """By node and which of its results, the nodes that use it on the way to a model's outputs."""
    tensors: list[torch.Tensor] = []

    def collect(x: torch.Tensor) -> torch.Tensor:
        tensors.append(x)
        return x

    mapped(collect, outputs)
    ends = [x.float().sum() for x in tensors if x.requires_grad and x.is_floating_point()]
    used: dict[Any, list[Any]] = {}
    for node in topological(torch.stack(ends).sum().grad_fn) if ends else ():
        for child, number in node.next_functions:
            used.setdefault((child, number), []).append(node)
    return used
