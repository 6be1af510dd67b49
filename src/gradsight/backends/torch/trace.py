"""Seeing one image run through a view: every module's output, and which of them are cuts of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from gradsight.backends.torch import tap
from gradsight.backends.torch.graph import Node, differentiable, dominators, topological
from gradsight.backends.torch.reaction import Run, by_reaction
from gradsight.backends.torch.view import View
from gradsight.foreign import Inputs
from gradsight.layers import Seen, call_name, candidates
from gradsight.layouts import Layout


@dataclass
class _Record:
    name: str
    call: int
    module: nn.Module
    received: tuple[int, ...] | None
    same: bool
    output: torch.Tensor
    node: Node | None = None  # the graph node that only this output leads to; None where the input does not reach it


def record(view: View, run: Run, source: torch.Tensor, layouts: Mapping[str, tuple[Layout, ...]]) -> list[Seen]:
    """Run the view once with gradients of the input on, and describe every call of every module.

    Args:
        view: the view that ``run`` runs.
        run: one pass to the score.
        source: the image as it goes in; requires a gradient.
        layouts: by call, the layouts that its output may have.
    """
    records: list[_Record] = []
    calls: dict[str, int] = {}

    def see(name: str, module: nn.Module, arguments: tuple[Inputs, ...], output: torch.Tensor) -> torch.Tensor:
        first = next((a for a in arguments if isinstance(a, torch.Tensor)), None)
        shape = None if first is None else tuple(first.shape)
        # What arrives is our clone of an earlier output. An in-place operation hands it on too, but raises its version.
        same = output._version == 0 and any(output is argument for argument in arguments)
        seen = _Record(name, calls.get(name, 0), module, shape, same, output)
        calls[name] = seen.call + 1
        records.append(seen)
        copy = output.clone()  # its graph node is this output's alone, and so are the values that the model writes
        seen.node = copy.grad_fn
        return copy

    names = [name for name in view.modules if name]
    tap.install(view.modules, names)
    score = run(dict.fromkeys(names, see), source)
    order = topological(score.grad_fn)
    cuts, whole = dominators(order, source), differentiable(order)
    able = [r for r in records if r.node in whole and layouts.get(call_name(r.name, r.call, calls))]
    asked = [r for r in able if r.node in cuts] or able  # nothing is a cut: the gradients of whatever there is decide
    grads = torch.autograd.grad(score, [r.output for r in asked], allow_unused=True) if asked else ()
    by_record = {id(r): g for r, g in zip(asked, grads, strict=True)}
    seen = [_seen(r, r.node in cuts, calls, by_record.get(id(r)), layouts) for r in records]
    if whole and len(whole) == len(order):
        return seen
    if any(x.cut and x.live for x in candidates(seen)):
        return seen
    with torch.no_grad():  # of some layers there is no gradient, and of the others none to choose one by
        unseen = [_seen(r, None, calls, None, layouts) for r in records]
        return by_reaction(unseen, [r.output.detach() for r in records], run, source.detach())


def _seen(
    r: _Record,
    cut: bool | None,
    calls: dict[str, int],
    gradient: torch.Tensor | None,
    layouts: Mapping[str, tuple[Layout, ...]],
) -> Seen:
    name = call_name(r.name, r.call, calls)
    return Seen(
        name=name,
        kind=type(r.module).__name__,
        shape=tuple(r.output.shape),
        received=r.received,
        composite=next(r.module.children(), None) is not None,
        same=r.same,
        cut=cut,
        gradient=None if gradient is None else gradient.detach().float().cpu().numpy(),
        layouts=layouts.get(name, ()),
    )
