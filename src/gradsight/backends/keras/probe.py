"""The probe on Keras: one forward pass, and one backward pass of the tail for each target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import keras
from keras import ops

from gradsight.backends.keras.outputs import floating_in, logits_in, scores_in, with_floating
from gradsight.errors import ModelError
from gradsight.layers import INPUT, Layer
from gradsight.layouts import Layout
from gradsight.targets import Resolved

if TYPE_CHECKING:
    from gradsight.backends.keras import KerasBackend


def full_precision(tensor: Any) -> Any:
    """Half precisions as float32: methods sum over thousands of products."""
    half = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if half else tensor


@dataclass(frozen=True)
class Forward:
    """One forward pass of one batch.

    Attributes:
        inputs: what went in.
        outputs: what came out.
        held: by layer name, its output, where differentiation starts.
        pull: cotangents of the outputs to gradients by layer name; None where nothing was held.
        layouts: by layer name, how it is laid out.
        batch_size: how many rows further passes may have.
    """

    inputs: Any
    outputs: Any
    held: dict[str, Any]
    pull: Any
    layouts: dict[str, Layout]
    batch_size: int


class KerasPass:
    """A forward pass and what is explained in it; backward on demand, for the probes of several layers."""

    def __init__(self, backend: KerasBackend, forward: Forward, targets: Any) -> None:
        """Explain ``targets`` in a forward pass: `Resolved`, or ``(logits, outputs) -> Resolved``."""
        self.backend, self.forward = backend, forward
        self.inputs, self.outputs, self.held = forward.inputs, forward.outputs, forward.held
        self.logits = logits_in(self.outputs)
        self.targets: Resolved = targets if isinstance(targets, Resolved) else targets(self.logits, self.outputs)
        self.scores = self.score(self.outputs)
        self.probes = [KerasProbe(self, name, layout) for name, layout in forward.layouts.items()]

    def score(self, outputs: Any) -> Any:
        """The targets' scores (m, k) of an output of the model."""
        return full_precision(self.targets.scores(outputs, scores_in(outputs), self.backend.ops))

    @cached_property
    def gradients(self) -> dict[str, Any]:
        """By layer, d scores[:, k] / d output: (k, *output)."""

        def score(leaves: list[Any]) -> Any:
            return self.score(with_floating(self.outputs, leaves))

        _, cotangents = self.backend.engine.slopes(score, floating_in(self.outputs))
        found: dict[str, Any] = self.forward.pull(cotangents)
        return found

    @cached_property
    def image(self) -> KerasProbe:
        """The probe of the model's input; nothing is differentiated from there before its gradient is asked for."""
        own = [probe for probe in self.probes if probe.held_as == INPUT.name]
        return own[0] if own else KerasProbe(self, INPUT.name, self.backend.image_layout(self.inputs))

    @cached_property
    def from_input(self) -> KerasPass:
        """This pass differentiated from the input on."""
        return self if INPUT.name in self.held else self.again([INPUT])

    def again(self, layers: Sequence[Layer], *, inputs: Any = None, times: int = 1) -> KerasPass:
        """Another forward pass for the same targets."""
        inputs = self.inputs if inputs is None else inputs
        return self.backend.run(inputs, layers, self.targets.tiled(times), self.forward.batch_size)


class KerasProbe:
    """One layer of a pass. The properties are those of `contracts.Probe`."""

    def __init__(self, shared: KerasPass, name: str, layout: Layout) -> None:
        """See ``name``, whose output is laid out as ``layout``, in a pass."""
        self._pass, self.held_as, self.layout = shared, name, layout
        self._ops = shared.backend.ops
        self.name = "input" if name == INPUT.name else name
        self.scores, self.targets, self.logits = shared.scores, shared.targets, shared.logits
        self.batch_size = shared.forward.batch_size
        self.spatial = tuple(range(-len(layout.grid), 0))

    @property
    def _held(self) -> Any:
        held = self._pass.held.get(self.held_as)
        return self._pass.backend.image(self._pass.inputs) if held is None else held

    @cached_property
    def activations(self) -> Any:
        """The layer's output: (n, c, *s)."""
        return full_precision(self.layout.fold(self._held, self._ops))

    @cached_property
    def gradients(self) -> Any:
        """d scores[n, k] / d activations[n]: (n, k, c, *s)."""
        shared = self._pass if self.held_as in self._pass.held else self._pass.from_input
        folded = self.layout.fold(shared.gradients[self.held_as], self._ops)
        return full_precision(ops.moveaxis(folded, 0, 1))

    def tail(self, activations: Any) -> Any:
        """Scores of other activations: (m, c, *s) -> (m, k); row j belongs to image j % n."""
        held, shared = self._held, self._pass
        times = self._times(activations)
        like = ops.concatenate([held] * times, axis=self.layout.axes[0]) if self.layout.extra else held
        raw = self.layout.unfold(ops.cast(activations, held.dtype), like, self._ops)
        if self.held_as == INPUT.name:
            inputs = shared.backend.with_image(shared.inputs, raw, times)
            return shared.score(shared.backend.outputs(inputs))
        return shared.score(shared.backend.tail(self.held_as, raw, shared.inputs, times))

    def _times(self, rows: Any) -> int:
        n = len(self._pass.scores)
        times, rest = divmod(len(rows), n)
        if rest:
            raise ValueError(f"further rows must be a multiple of the batch's {n} rows. Received: {len(rows)}.")
        return times

    @property
    def image(self) -> KerasProbe:
        """The model's input, seen as a layer."""
        return self._pass.image

    @property
    def layers(self) -> Sequence[KerasProbe]:
        """The probes of all the layers of this pass."""
        return self._pass.probes

    def at(self, images: Any) -> KerasProbe:
        """The same layer and targets for other images; row j belongs to image j % n."""
        times, backend = self._times(images), self._pass.backend
        images = self._pass.image.layout.unfold(images, images, self._ops)
        inputs = backend.with_image(self._pass.inputs, images, times)
        known = [Layer(probe.held_as, layout=probe.layout) for probe in (*self.layers, self)]
        wanted = list({layer.name: layer for layer in known}.values())
        shared = self._pass.again(wanted, inputs=inputs, times=times)
        return next(probe for probe in shared.probes if probe.held_as == self.held_as)

    def towards(self, targets: Resolved) -> KerasProbe:
        """The same forward pass, with other targets explained."""
        shared = KerasPass(self._pass.backend, self._pass.forward, targets)
        return next((probe for probe in shared.probes if probe.held_as == self.held_as), shared.image)

    def rectified(self, rule: str) -> KerasProbe:  # noqa: ARG002
        """Not on Keras yet."""
        _not_yet("changes how gradients pass rectifiers", "gradient")

    def curvature(self, direction: Any) -> Any:  # noqa: ARG002
        """Not on Keras yet."""
        _not_yet("needs second derivatives", "gradcam")

    def bias_terms(self, target: int) -> Iterator[Any]:  # noqa: ARG002
        """Not on Keras yet."""
        _not_yet("needs what each layer's bias adds", "integratedgradients")


def _not_yet(what: str, instead: str) -> NoReturn:
    raise ModelError(f"this method {what}, which gradsight does on PyTorch models only so far. Use {instead!r}.")
