"""The probe on PyTorch: one forward pass, one batched backward pass of the tail."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradsight.backends.torch.outputs import logits_in, scores_in
from gradsight.errors import ModelError
from gradsight.layouts import Layout
from gradsight.targets import Resolved

if TYPE_CHECKING:
    from gradsight.backends.torch import TorchBackend


def full_precision(tensor: torch.Tensor) -> torch.Tensor:
    """Half precisions as float32: methods sum over thousands of products."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class TorchPass:
    """One batch, forward at once and backward on demand, for the probes of several layers."""

    def __init__(self, backend: TorchBackend, inputs: Any, layers: Sequence[Any], targets: Any) -> None:
        """Push ``inputs`` through; see `contracts.Backend.run`."""
        self.backend = backend
        self.inputs = inputs
        self.outputs, self.held = backend.forward(inputs, {layer.name for layer in layers})
        self.logits = logits_in(self.outputs)
        self.targets: Resolved = targets(self.logits, self.outputs)
        self._graph: torch.Tensor | None = self.score(self.outputs)
        self.scores = self._graph.detach()
        layouts = [backend.layout(layer, self.held[layer.name].shape, inputs) for layer in layers]
        self.probes = [TorchProbe(self, layer.name, lay) for layer, lay in zip(layers, layouts, strict=True)]

    def score(self, outputs: Any) -> torch.Tensor:
        """The targets' scores (m, k) of an output of the model."""
        scores: torch.Tensor = self.targets.scores(outputs, scores_in(outputs), self.backend.ops)
        return full_precision(scores)

    @cached_property
    def gradients(self) -> dict[str, torch.Tensor]:
        """By layer, d scores[:, k] / d output: (k, *output)."""
        names, graph = list(self.held), self._graph
        assert graph is not None
        if not graph.requires_grad:
            raise ModelError(
                f"the scores carry no gradient back to layer {names[0]!r}: it does not take part in them, or the "
                "model's forward leaves the graph after it (torch.no_grad, torch.inference_mode, detach, argmax). "
                "Name another layer, or take that out of forward."
            )
        with torch.inference_mode(False), torch.enable_grad():
            grads = _jacobian(graph, [self.held[name] for name in names])
        missing = [name for name, grad in zip(names, grads, strict=True) if grad is None]
        if missing:
            raise ModelError(f"the scores do not depend on layer {missing[0]!r}. Name another layer.")
        self._graph = None  # the tail's memory is free again
        return dict(zip(names, grads, strict=True))


def _jacobian(scores: torch.Tensor, held: list[torch.Tensor]) -> list[Any]:
    """d scores[:, k] / d held for all k, (k, *held): in one batched backward pass, or one by one where that fails."""
    n, k = scores.shape
    each = torch.eye(k, dtype=scores.dtype, device=scores.device)[:, None].expand(k, n, k)
    if k > 1:
        with contextlib.suppress(RuntimeError):  # some operation of the tail has no batched gradient
            return list(
                torch.autograd.grad(scores, held, each, is_grads_batched=True, retain_graph=True, allow_unused=True)
            )
    rows = [torch.autograd.grad(scores, held, row, retain_graph=k > 1, allow_unused=True) for row in each]
    return [None if parts[0] is None else torch.stack(parts) for parts in zip(*rows, strict=True)]


class TorchProbe:
    """One layer of a pass. The properties are those of `contracts.Probe`."""

    def __init__(self, shared: TorchPass, name: str, layout: Layout) -> None:
        """See ``name``, whose output is laid out as ``layout``, in a pass."""
        self._pass, self.name, self.layout = shared, name, layout
        self._ops = shared.backend.ops
        self.inputs = shared.inputs
        self.scores = shared.scores
        self.spatial = tuple(range(-len(layout.grid), 0))

    @property
    def _held(self) -> torch.Tensor:
        return self._pass.held[self.name].detach()

    @cached_property
    def activations(self) -> torch.Tensor:
        """The layer's output: (n, c, *s)."""
        return full_precision(self.layout.fold(self._held, self._ops))

    @cached_property
    def gradients(self) -> torch.Tensor:
        """d scores[n, k] / d activations[n]: (n, k, c, *s)."""
        folded = self.layout.fold(self._pass.gradients[self.name], self._ops)
        return full_precision(folded).movedim(0, 1)

    def tail(self, activations: torch.Tensor) -> torch.Tensor:
        """Scores of other activations: (m, c, *s) -> (m, k); row j belongs to image j % n."""
        held, shared = self._held, self._pass
        times, rest = divmod(len(activations), len(self.activations))
        if rest:
            n = len(self.activations)
            raise ValueError(
                f"`activations` must hold a multiple of the batch's {n} rows. Received: {len(activations)}."
            )
        axis = self.layout.axes[0]
        like = torch.cat([held] * times, dim=axis) if self.layout.extra else held
        raw = self.layout.unfold(activations.to(held.dtype), like, self._ops)
        outputs = shared.backend.tail(self.name, raw, held, axis, shared.inputs, shared.outputs, times)
        return shared.score(outputs)

    def score(self, inputs: Any) -> torch.Tensor:
        """Scores of other inputs: (m, ...) -> (m, k); row j belongs to image j % n."""
        return self._pass.score(self._pass.backend.outputs(inputs))


def pick(logits: torch.Tensor, indices: np.ndarray[Any, Any]) -> torch.Tensor:
    """Some classes of each row: (m, classes), (m, k) -> (m, k)."""
    return logits.gather(1, torch.from_numpy(np.ascontiguousarray(indices)).to(logits.device))
