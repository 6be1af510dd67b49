"""Gradients of scores by layers' outputs: batched over targets, and never twice for the same class."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.graph import GradientEdge, get_gradient_edge

from gradsight.backends.torch.dense import few_rows
from gradsight.backends.torch.graph import differentiable, is_whole, topological
from gradsight.backends.torch.in_parts import InParts
from gradsight.errors import ModelError
from gradsight.layers import INPUT
from gradsight.registry import without_gradient
from gradsight.targets import ScoreSpec

Gradients = dict[str, torch.Tensor]
"""By layer, d scores[:, j] / d output for each column j: (columns, *output)."""


class with_gradient:  # noqa: N801 - used as a function
    """Within it a graph is recorded, whatever mode the caller is in."""

    def __enter__(self) -> None:
        # Both put back what was, also where code in between has left the mode changed.
        self._inference, self._recording = torch.inference_mode(False), torch.enable_grad()
        self._inference.__enter__()
        self._recording.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._recording.__exit__(*error)
        self._inference.__exit__(*error)


_AS_IT_IS = contextlib.nullcontext()


def _recording() -> contextlib.AbstractContextManager[None]:
    """`with_gradient` for code of ours, which leaves the mode as it is: nothing to do where a graph is recorded."""
    quiet = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    return _AS_IT_IS if quiet else with_gradient()


def jacobian(scores: torch.Tensor, leaves: dict[str, torch.Tensor], in_parts: InParts | None = None) -> Gradients:
    """d scores[:, j] / d output of each layer, for scores (n, k). The graph stays, for other targets of the same pass.

    Args:
        scores: with their graph.
        leaves: by layer, its output.
        in_parts: takes them where most of their rows are zero on the way.

    Raises:
        ModelError: the scores do not depend on a layer.
    """
    with _recording():
        # A whole model's backward pass, batched over classes, would hold its activations once for each class.
        batched = INPUT.name not in leaves
        by_column = partial(by_columns, batched=batched)
        grads = (
            None if in_parts is None or not batched else in_parts.gradients(scores, list(leaves.values()), by_column)
        )
        grads = by_column(scores, list(leaves.values())) if grads is None else grads
    gradients: Gradients = {}
    for name, grad in zip(leaves, grads, strict=True):
        if grad is None:
            raise ModelError(f"the scores do not depend on layer {name!r}. Name another layer.")
        gradients[name] = grad
    return gradients


def check_graph(scores: torch.Tensor, leaves: dict[str, torch.Tensor], quantized: str) -> None:
    """See that the gradient of scores by each layer is there, and whole.

    Args:
        scores: with their graph.
        leaves: by layer, its output.
        quantized: the kind of a quantized module in the model; empty where there is none.

    Raises:
        ModelError: it is not.
    """
    if is_whole(scores.grad_fn, leaves.values()):
        return
    # An operator without a derivative is no error of PyTorch's: its part of the gradient would be missing, silently.
    order = topological(scores.grad_fn)
    whole, reached = differentiable(order), set(order)
    for name, output in leaves.items():
        with torch.inference_mode(False):
            node = get_gradient_edge(output).node if output.requires_grad else None
        if node in whole or (node is not None and order and node not in reached):
            continue  # of the latter, `jacobian` says that the scores do not depend on it
        if quantized:
            reason = no_gradient_in(quantized)
        elif node in reached:
            reason = f"an operator behind it has no derivative in PyTorch. Name a later layer, {_or_without_gradient()}"
        else:
            reason = (
                "it does not take part in them, or the model's forward leaves the graph after it (torch.no_grad, "
                "torch.inference_mode, detach, argmax). Name another layer, take that out of forward, "
                + _or_without_gradient()
            )
        where = "the input" if name == INPUT.name else f"layer {name!r}"
        raise ModelError(f"the scores carry no gradient back to {where}: {reason}")


def no_gradient_in(quantized: str) -> str:
    """Words for a model with a quantized module of this kind."""
    return (
        f"the model is quantized ({quantized}), and that has no gradient. Explain it as it was before, "
        + _or_without_gradient()
    )


def _or_without_gradient() -> str:
    return f"or use a method that needs no gradient: {', '.join(without_gradient())}."


def by_columns(
    scores: torch.Tensor, leaves: Sequence[torch.Tensor] | Sequence[GradientEdge], *, batched: bool
) -> list[torch.Tensor | None]:
    """In one batched backward pass, or one by one where that fails."""
    n, k = scores.shape
    if k == 1:
        # The same numbers as with a gradient of ones, which would make PyTorch import sympy: half a second, once.
        only = torch.autograd.grad(scores.sum(), leaves, retain_graph=True, allow_unused=True)
        return [None if grad is None else grad[None] for grad in only]
    each = torch.eye(k, dtype=scores.dtype, device=scores.device)[:, None].expand(k, n, k)
    if k > 1 and batched:
        with contextlib.suppress(RuntimeError), few_rows(scores):  # some operation of the tail has no batched gradient
            return list(
                torch.autograd.grad(scores, leaves, each, is_grads_batched=True, retain_graph=True, allow_unused=True)
            )
    rows = [torch.autograd.grad(scores, leaves, row, retain_graph=True, allow_unused=True) for row in each]
    return [None if parts[0] is None else torch.stack(parts) for parts in zip(*rows, strict=True)]


class ClassGradients:
    """The gradients of the classes that were asked for in one forward pass; differences of classes are made of them.

    Attributes:
        classes: (n, h) the class of each column, for each image.
        columns: by layer, the gradients of the columns, (h, *output).
    """

    def __init__(self, in_parts: InParts | None = None) -> None:
        """None yet.

        Args:
            in_parts: takes gradients where most of their rows are zero on the way.
        """
        self.in_parts = in_parts
        self.classes: NDArray[np.intp] | None = None
        self.columns: Gradients = {}

    def combined(
        self,
        targets: ScoreSpec,
        logits: torch.Tensor,
        leaves: dict[str, torch.Tensor],
        batch_axes: dict[str, int],
        picked: torch.Tensor | None = None,
    ) -> Gradients:
        """The gradients of targets that are sums of classes.

        Args:
            targets: the targets; every term of them a class.
            logits: (n, classes), with their graph.
            leaves: by layer, its output.
            batch_axes: by layer, the axis of its output that counts images.
            picked: the scores of the targets, (n, k), with their graph, where they were taken already.
        """
        assert targets.indices is not None
        is_picked = picked is not None and picked.dtype == logits.dtype and targets.classes is targets.indices
        self._add(targets.indices, logits, leaves, picked if is_picked else None)
        if targets.classes is not None and self.classes is not None and _equal(self.classes, targets.classes):
            return self.columns
        mix = torch.from_numpy(self._mix(targets)).to(logits)
        return {name: _mixed(mix, grads, 1 + batch_axes[name]) for name, grads in self.columns.items()}

    def _add(
        self,
        wanted: NDArray[np.intp],
        logits: torch.Tensor,
        leaves: dict[str, torch.Tensor],
        picked: torch.Tensor | None = None,
    ) -> None:
        """Differentiate the classes that are not there yet; rows are filled up to one length with a class of theirs."""
        if self.classes is None:
            new = wanted
        else:
            lacking = [np.setdiff1d(row, known) for row, known in zip(wanted, self.classes, strict=True)]
            count = max(len(row) for row in lacking)
            if not count:
                return
            new = np.array(
                [
                    np.resize(row if len(row) else known[:1], count)
                    for row, known in zip(lacking, self.classes, strict=True)
                ]
            )
        if picked is None or new is not wanted:
            with _recording():
                picked = logits.gather(1, torch.from_numpy(np.ascontiguousarray(new)).to(logits.device))
        columns = jacobian(picked, leaves, self.in_parts)
        if self.classes is None:
            self.classes, self.columns = new, columns
        else:
            self.classes = np.concatenate((self.classes, new), axis=1)
            self.columns = {name: torch.cat((old, columns[name])) for name, old in self.columns.items()}

    def _mix(self, targets: ScoreSpec) -> NDArray[np.float64]:
        """(n, k, h): how much of each column each target is made of."""
        assert self.classes is not None
        mix = np.zeros((len(self.classes), targets.count, self.classes.shape[1]))
        rows = np.arange(len(mix))
        for j, column in enumerate(targets.columns):
            for term in column:
                assert term.classes is not None
                first = np.argmax(term.classes[:, None] == self.classes, axis=1)  # the first that fits, (n,)
                mix[rows, j, first] += term.factor
        return mix


def _equal(one: NDArray[np.intp], other: NDArray[np.intp]) -> bool:
    return one is other or np.array_equal(one, other)


def _mixed(mix: torch.Tensor, columns: torch.Tensor, batch_axis: int) -> torch.Tensor:
    """Sum columns (h, ..., n, ...) by (n, k, h): (k, ..., n, ...)."""
    by_image = columns.movedim(batch_axis, 1)
    mix = mix.repeat_interleave(by_image.shape[1] // len(mix), dim=0)  # frames may be rows of their own
    return torch.einsum("nkh,hn...->kn...", mix.to(columns.dtype), by_image).movedim(1, batch_axis)
