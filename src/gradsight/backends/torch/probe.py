"""The probe on PyTorch: one forward pass, one batched backward pass of the tail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradsight.backends.torch.gradients import ClassGradients, jacobian
from gradsight.backends.torch.outputs import logits_in, scores_in
from gradsight.errors import ModelError
from gradsight.layers import INPUT, Layer
from gradsight.layouts import Layout
from gradsight.targets import Resolved

if TYPE_CHECKING:
    from gradsight.backends.torch import TorchBackend
    from gradsight.backends.torch.biases import Biases


def full_precision(tensor: torch.Tensor) -> torch.Tensor:
    """Half precisions as float32: methods sum over thousands of products."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(frozen=True)
class Forward:
    """One forward pass of one batch.

    Attributes:
        inputs: what went in.
        outputs: what came out.
        held: by layer name, its output, where the graph starts.
        layouts: by layer name, how it is laid out.
        rule: the rule by which gradients pass rectifiers; None for the true one.
        batch_size: how many rows further passes may have.
        by_class: the gradients of single classes that were asked for so far.
        bypasses: by layer, what bypasses it, where that was asked for.
    """

    inputs: Any
    outputs: Any
    held: dict[str, torch.Tensor]
    layouts: dict[str, Layout]
    rule: str | None
    batch_size: int
    by_class: ClassGradients = field(default_factory=ClassGradients)
    bypasses: dict[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)


class TorchPass:
    """A forward pass and what is explained in it; backward on demand, for the probes of several layers."""

    def __init__(self, backend: TorchBackend, forward: Forward, targets: Any) -> None:
        """Explain ``targets`` in a forward pass: `Resolved`, or ``(logits, outputs) -> Resolved``."""
        self.backend, self.forward = backend, forward
        self.inputs, self.outputs, self.held = forward.inputs, forward.outputs, forward.held
        self.logits = logits_in(self.outputs)
        self.targets: Resolved = targets if isinstance(targets, Resolved) else targets(self.logits, self.outputs)
        self._graph = self.score(self.outputs)
        self.scores = self._graph.detach()
        self.probes = [TorchProbe(self, name, layout) for name, layout in forward.layouts.items()]

    def score(self, outputs: Any) -> torch.Tensor:
        """The targets' scores (m, k) of an output of the model."""
        scores: torch.Tensor = self.targets.scores(outputs, scores_in(outputs), self.backend.ops)
        return full_precision(scores)

    @cached_property
    def gradients(self) -> dict[str, torch.Tensor]:
        """By layer, d scores[:, k] / d output: (k, *output)."""
        if any(part.classes is None for part in self.targets.parts):
            return jacobian(self._graph, self.held)
        logits, axes = scores_in(self.outputs), {name: x.axes[0] for name, x in self.forward.layouts.items()}
        assert logits is not None  # the targets are classes
        return self.forward.by_class.combined(self.targets, logits, self.held, axes)

    @cached_property
    def image(self) -> TorchProbe:
        """The probe of the model's input; no graph from there on is recorded before its gradient is asked for."""
        own = [probe for probe in self.probes if probe.held_as == INPUT.name]
        return own[0] if own else TorchProbe(self, INPUT.name, self.backend.image_layout(self.inputs))

    @cached_property
    def from_input(self) -> TorchPass:
        """This pass with a graph from the input on."""
        return self if INPUT.name in self.held else self.again([INPUT], rule=self.forward.rule)

    @cached_property
    def biases(self) -> Biases:
        """What the modules add by themselves."""
        return self.backend.biases(self)

    def again(
        self, layers: Sequence[Layer], *, inputs: Any = None, times: int = 1, rule: str | None = None
    ) -> TorchPass:
        """Another forward pass for the same targets."""
        inputs = self.inputs if inputs is None else inputs
        targets, size = self.targets.tiled(times), self.forward.batch_size
        return self.backend.run(inputs, layers, targets, size, rule=rule)


class TorchProbe:
    """One layer of a pass. The properties are those of `contracts.Probe`."""

    def __init__(self, shared: TorchPass, name: str, layout: Layout) -> None:
        """See ``name``, whose output is laid out as ``layout``, in a pass."""
        self._pass, self.held_as, self.layout = shared, name, layout
        self._ops = shared.backend.ops
        self.name = "input" if name == INPUT.name else name
        self.scores, self.targets, self.logits = shared.scores, shared.targets, shared.logits
        self.batch_size = shared.forward.batch_size
        self.spatial = tuple(range(-len(layout.grid), 0))

    @property
    def _held(self) -> torch.Tensor:
        held = self._pass.held.get(self.held_as)
        return self._pass.backend.image(self._pass.inputs) if held is None else held.detach()

    @cached_property
    def activations(self) -> torch.Tensor:
        """The layer's output: (n, c, *s)."""
        return full_precision(self.layout.fold(self._held, self._ops))

    @cached_property
    def gradients(self) -> torch.Tensor:
        """d scores[n, k] / d activations[n]: (n, k, c, *s)."""
        shared = self._pass if self.held_as in self._pass.held else self._pass.from_input
        folded = self.layout.fold(shared.gradients[self.held_as], self._ops)
        return full_precision(folded).movedim(0, 1)

    def tail(self, activations: torch.Tensor) -> torch.Tensor:
        """Scores of other activations: (m, c, *s) -> (m, k); row j belongs to image j % n."""
        with torch.no_grad():
            return self._tail(activations)

    def _tail(self, activations: torch.Tensor, *, twice_differentiable: bool = False) -> torch.Tensor:
        held, shared = self._held, self._pass
        times = self._times(activations)
        axis = self.layout.axes[0]
        like = torch.cat([held] * times, dim=axis) if self.layout.extra else held
        raw = self.layout.unfold(activations.to(held.dtype), like, self._ops)
        if self.held_as == INPUT.name:
            return shared.score(shared.backend.outputs(shared.backend.with_image(shared.inputs, raw, times)))
        outputs = shared.backend.tail(self.held_as, raw, axis, shared.forward, times, traced=not twice_differentiable)
        return shared.score(outputs)

    def _times(self, rows: torch.Tensor) -> int:
        n = len(self._pass.scores)
        times, rest = divmod(len(rows), n)
        if rest:
            raise ValueError(f"further rows must be a multiple of the batch's {n} rows. Received: {len(rows)}.")
        return times

    def curvature(self, direction: torch.Tensor) -> torch.Tensor:
        """The Hessian of each score times ``direction``: (n, c, *s) -> (n, k, c, *s)."""
        failed: RuntimeError | None = None
        for twice_differentiable in (False, True):  # fused attention has no second derivative, the plain one has
            try:
                return self._curvature(direction, twice_differentiable=twice_differentiable)
            except RuntimeError as error:
                failed = error
        raise ModelError(
            f"what is behind layer {self.name!r} has no second derivative in PyTorch, which this method needs: "
            f"{failed} Use a method without it, such as 'gradcam'."
        ) from failed

    def _curvature(self, direction: torch.Tensor, *, twice_differentiable: bool) -> torch.Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = self.activations.detach().requires_grad_()
            scores = self._tail(leaf, twice_differentiable=twice_differentiable)
            columns = []
            for j in range(scores.shape[1]):
                (gradient,) = torch.autograd.grad(scores[:, j].sum(), leaf, create_graph=True)
                product = None
                if gradient.requires_grad:
                    (product,) = torch.autograd.grad(gradient, leaf, direction, retain_graph=True, allow_unused=True)
                columns.append(torch.zeros_like(leaf) if product is None else product.detach())
            return torch.stack(columns, dim=1)

    @property
    def image(self) -> TorchProbe:
        """The model's input, seen as a layer."""
        return self._pass.image

    @property
    def layers(self) -> Sequence[TorchProbe]:
        """The probes of all the layers of this pass."""
        return self._pass.probes

    def at(self, images: torch.Tensor) -> TorchProbe:
        """The same layer and targets for other images; row j belongs to image j % n."""
        times, backend = self._times(images), self._pass.backend
        inputs = backend.with_image(self._pass.inputs, images, times)
        known = [Layer(probe.held_as, layout=probe.layout) for probe in (*self.layers, self)]
        wanted = list({layer.name: layer for layer in known}.values())
        shared = self._pass.again(wanted, inputs=inputs, times=times, rule=self._pass.forward.rule)
        return next(probe for probe in shared.probes if probe.held_as == self.held_as)

    def towards(self, targets: Resolved) -> TorchProbe:
        """The same forward pass, with other targets explained."""
        shared = TorchPass(self._pass.backend, self._pass.forward, targets)
        return next((probe for probe in shared.probes if probe.held_as == self.held_as), shared.image)

    def rectified(self, rule: str) -> TorchProbe:
        """The same, where gradients pass rectifiers by another rule."""
        shared = self._pass.again([Layer(self.held_as, layout=self.layout)], rule=rule)
        return shared.probes[0]

    def bias_terms(self, target: int) -> Iterator[torch.Tensor]:
        """What each module adds by itself to the score of one target, (n, c, *s), module by module."""
        return self._pass.biases.terms(target)


def pick(logits: torch.Tensor, indices: np.ndarray[Any, Any]) -> torch.Tensor:
    """Some classes of each row: (m, classes), (m, k) -> (m, k)."""
    return logits.gather(1, torch.from_numpy(np.ascontiguousarray(indices)).to(logits.device))
