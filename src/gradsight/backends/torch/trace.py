"""Seeing one image run through a view: every module's output, and which of them are cuts of the graph."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gradsight.backends.torch import tap
from gradsight.backends.torch.view import View
from gradsight.layers import Seen


@dataclass
class _Record:
    name: str
    call: int
    module: nn.Module
    received: tuple[int, ...] | None
    same: bool
    output: torch.Tensor
    node: Any = None  # the graph node that only this output leads to; None where the input does not reach it


def record(
    view: View, run: Callable[[dict[str, tap.Tap]], torch.Tensor], source: torch.Tensor, texts: Collection[int] = ()
) -> list[Seen]:
    """Run the view once with gradients of the input on, and describe every call of every module.

    Args:
        view: the view that ``run`` runs.
        run: one forward pass of one image with the given taps, to the score that is explained, a scalar.
        source: the image as it goes in; requires a gradient.
        texts: how many tokens the texts beside the image have; a layer of so many tokens is the text's.
    """
    records: list[_Record] = []
    calls: dict[str, int] = {}

    def see(name: str, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        first = next((a for a in arguments if isinstance(a, torch.Tensor)), None)
        shape = None if first is None else tuple(first.shape)
        # What arrives is our clone of an earlier output. An in-place operation hands it on too, but raises its version.
        same = output._version == 0 and any(output is argument for argument in arguments)
        seen = _Record(name, calls.get(name, 0), module, shape, same, output)
        calls[name] = seen.call + 1
        records.append(seen)
        if not output.requires_grad:
            return output
        given = output.clone()  # its graph node is this output's alone, whatever the model does with the tensor
        seen.node = given.grad_fn
        return given

    names = [name for name in view.modules if name]
    tap.install(view.modules, names)
    score = run(dict.fromkeys(names, see))
    cuts = dominators(score.grad_fn, source)
    is_cut = [r.node is not None and r.node in cuts for r in records]
    asked = [r for r, cut in zip(records, is_cut, strict=True) if cut and r.output.ndim > 2]
    if not asked:  # nothing is a cut: the gradients of whatever there is must decide
        asked = [r for r in records if r.node is not None and r.output.ndim > 2]
    grads = torch.autograd.grad(score, [r.output for r in asked], allow_unused=True) if asked else ()
    by_record = {id(r): g for r, g in zip(asked, grads, strict=True)}
    return [_seen(r, cut, calls, by_record.get(id(r)), texts) for r, cut in zip(records, is_cut, strict=True)]


def _seen(r: _Record, cut: bool, calls: dict[str, int], gradient: torch.Tensor | None, texts: Collection[int]) -> Seen:
    last = r.call == calls[r.name] - 1
    is_text = r.output.ndim == 3 and r.output.shape[1] in texts
    return Seen(
        name=r.name if last else f"{r.name}#{r.call}",
        kind=type(r.module).__name__,
        shape=tuple(r.output.shape),
        received=r.received,
        composite=next(r.module.children(), None) is not None,
        same=r.same,
        cut=cut,
        gradient=None if gradient is None else gradient.detach().float().cpu().numpy(),
        ways=() if is_text else None,
    )


def _topological(start: Any) -> list[Any]:
    """The autograd graph from ``start`` backwards, each node after all that lead to it."""
    order: list[Any] = []
    done: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(start, False)]
    while stack:
        node, left = stack.pop()
        if left:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None)
    return order[::-1]


def dominators(start: Any, source: torch.Tensor) -> set[Any]:
    """The graph nodes that every path from the score ``start`` back to ``source`` passes: the cuts of the graph.

    Immediate dominators of a graph without cycles, in one sweep (Cooper, Harvey and Kennedy, "A simple, fast dominance
    algorithm", 2001, fig. 3).
    """
    if start is None:
        return set()
    order = _topological(start)
    position = {node: i for i, node in enumerate(order)}
    above: dict[Any, Any] = {start: start}
    for node in order:
        for child, _ in node.next_functions:
            if child is None:
                continue
            if child not in above:
                above[child] = node
                continue
            a, b = above[child], node
            while a is not b:
                if position[a] > position[b]:
                    a = above[a]
                else:
                    b = above[b]
            above[child] = a
    leaf = next((node for node in order if getattr(node, "variable", None) is source), None)
    found: set[Any] = set()
    while leaf is not None and leaf is not start:
        leaf = above[leaf]
        found.add(leaf)
    return found
