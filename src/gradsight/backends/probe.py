"""Passes and probes on any framework; what differs between frameworks is in `Arrays`, which their backends offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from gradsight.backends.reading import Reader
from gradsight.backends.rows import rows_of
from gradsight.cached import cached_property
from gradsight.contracts import Rows
from gradsight.foreign import Array, Inputs, Ops, Outputs
from gradsight.layers import INPUT, Layer
from gradsight.layouts import Layout
from gradsight.recent import Recent
from gradsight.targets import ScoreSpec


@dataclass(frozen=True)
class Forward:
    """One forward pass of one batch.

    Attributes:
        inputs: what went in.
        outputs: what came out.
        held: by layer name, its output, where differentiation starts.
        layouts: by layer name, how it is laid out.
        rule: the rule by which gradients pass rectifiers; None for the true one.
        batch_size: how many rows further passes may have.
    """

    inputs: Inputs
    outputs: Outputs
    held: dict[str, Array]
    layouts: dict[str, Layout]
    rule: str | None
    batch_size: int


class Arrays(Protocol):
    """What passes and probes ask of a framework, beyond `contracts.Backend`."""

    ops: Ops
    reader: Reader
    """Reads what the model gives."""

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""

    def varied(self, inputs: Inputs, seed: int) -> Any:
        """What the model gives for another first image by other weights; None where it fails by them."""

    def no_gradient(self) -> AbstractContextManager[Any]:
        """Within it no graph is recorded."""

    def with_gradient(self) -> AbstractContextManager[Any]:
        """Within it a graph is recorded, whatever mode the caller is in."""

    def detached(self, array: Array) -> Array:
        """An array without its graph."""

    def full_precision(self, array: Array) -> Array:
        """Half precisions as float32: methods sum over thousands of products."""

    def scores_in(self, outputs: Outputs) -> Array | None:
        """The class scores in a model's output, (n, classes); None where there are none."""

    def numpy(self, array: Array) -> Any:
        """Copy an array to NumPy."""

    def image(self, inputs: Inputs) -> Array:
        """The image among the inputs."""

    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out."""

    @property
    def draws(self) -> bool:
        """Whether the model drew random numbers in the passes so far."""

    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""

    rows: Recent[Any, Rows]
    """By `kind` of inputs, how the model takes their rows, where that was asked for."""

    def kind(self, inputs: Inputs) -> tuple[Any, Any]:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""

    def extras(self, inputs: Inputs) -> tuple[int, ...]:
        """Which tensors beside the image have as many rows, counted in their order."""

    def with_image(self, inputs: Inputs, image: Array, times: int = 1, *, shared: frozenset[int] | None = None) -> Any:
        """The inputs with another image, and ``times`` times as often whatever is by image.

        ``shared`` says which tensors are not, instead of what was found out, see `rows`.
        """

    def row(self, inputs: Inputs, i: int, times: int = 1, *, shared: frozenset[int] | None = None) -> Any:
        """A batch of image ``i`` and what belongs to it, ``times`` times."""

    def outputs(self, inputs: Inputs) -> Any:
        """Run the model."""

    def tail(self, name: str, raw: Any, axis: int, forward: Any, times: int, *, traced: bool = True) -> Any:
        """The model's output where a layer gives ``raw``, ``times`` rows along ``axis`` for each image.

        If not ``traced``, the whole model runs, not a graph of its tail.
        """

    def gradients(self, shared: Any) -> dict[str, Array]:
        """By layer that a pass holds, d scores[:, k] / d output: (k, *output)."""

    def curvature(self, function: Callable[..., Array], leaf: Array, direction: Array, layer: str) -> Array:
        """The Hessian of each column of ``function(leaf)`` (n, k), times ``direction``: (n, k, *leaf[0])."""

    def biases(self, shared: Any) -> Any:
        """What modules add by themselves; its ``terms(target)`` are those of `contracts.Probe.bias_terms`."""

    def run(
        self, inputs: Inputs, layers: Sequence[Layer], targets: Any, batch_size: int = 32, *, rule: str | None = None
    ) -> ModelPass:
        """See `contracts.Backend.run`; ``targets`` may be `ScoreSpec` already."""


def logits_in(backend: Arrays, inputs: Inputs, outputs: Outputs) -> Any:
    """The class scores that a model gave for inputs, as a float64 NumPy array (n, classes); None where there are none.

    With it is settled how its outputs are read.
    """
    backend.reader.settle(outputs, backend.count(inputs), partial(backend.varied, inputs))
    scores = backend.scores_in(outputs)
    return None if scores is None else backend.numpy(scores).astype(np.float64)


class ModelPass:
    """`contracts.Pass`: a forward pass and what is explained in it; backward on demand, for several layers."""

    def __init__(self, backend: Arrays, forward: Forward, targets: Any) -> None:
        """Explain ``targets`` in a forward pass: `ScoreSpec`, or ``(logits, outputs) -> ScoreSpec``."""
        self.backend, self.forward = backend, forward
        self.inputs, self.outputs, self.held = forward.inputs, forward.outputs, forward.held
        self.logits = logits_in(backend, self.inputs, self.outputs)
        self.targets: ScoreSpec = targets if isinstance(targets, ScoreSpec) else targets(self.logits, self.outputs)
        self.graph = self.score(self.outputs)
        self.scores = backend.detached(self.graph)

    # Probes hold their pass, and are made when they are asked for: if it held them too, all that they hold would stay
    # until the garbage collector runs, which does not know how large an array is.

    @property
    def probes(self) -> list[LayerProbe]:
        """One probe for each layer asked for, which nobody has used yet."""
        return [LayerProbe(self, name, layout) for name, layout in self.forward.layouts.items()]

    @property
    def image(self) -> LayerProbe:
        """The probe of the model's input; nothing is differentiated from there before its gradient is asked for."""
        layout = self.forward.layouts.get(INPUT.name)
        return LayerProbe(self, INPUT.name, layout or self.backend.image_layout(self.inputs))

    def score(self, outputs: Outputs) -> Array:
        """The targets' scores (m, k) of an output of the model."""
        scores = self.targets.scores(outputs, self.backend.scores_in(outputs), self.backend.ops)
        return self.backend.full_precision(scores)

    def scored(self, outputs: Outputs) -> Any:
        """Of an output of the model the class scores, or what is explained where there are none: (m, k) in NumPy."""
        scores = self.backend.scores_in(outputs)
        return self.backend.numpy(self.score(outputs) if scores is None else scores).astype(np.float64)

    @cached_property
    def rows(self) -> Rows:
        """How the model takes the rows of such inputs; found out once, at the price of a pass."""

        def made() -> Rows:
            with self.backend.unchanged():  # else what is remembered would be of no model
                return rows_of(self)

        return self.backend.rows.of(self.backend.kind(self.inputs), made)

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """By layer, d scores[:, k] / d output: (k, *output)."""
        return self.backend.gradients(self)

    @cached_property
    def biases(self) -> Any:
        """What the modules add by themselves."""
        return self.backend.biases(self)

    @cached_property
    def from_input(self) -> ModelPass:
        """This pass, differentiated from the input on."""
        return self if INPUT.name in self.held else self.again([INPUT], rule=self.forward.rule)

    def again(
        self, layers: Sequence[Layer], *, inputs: Inputs = None, times: int = 1, rule: str | None = None
    ) -> ModelPass:
        """Another forward pass for the same targets."""
        inputs = self.inputs if inputs is None else inputs
        return self.backend.run(inputs, layers, self.targets.tiled(times), self.forward.batch_size, rule=rule)


class LayerProbe:
    """One layer of a pass. The properties are those of `contracts.Probe`."""

    def __init__(self, shared: ModelPass, name: str, layout: Layout) -> None:
        """See ``name``, whose output is laid out as ``layout``, in a pass."""
        self._pass, self.held_as, self.layout = shared, name, layout
        self._backend, self._ops = shared.backend, shared.backend.ops
        self.name = "input" if name == INPUT.name else name
        self.scores, self.targets, self.logits = shared.scores, shared.targets, shared.logits
        self.spatial = tuple(range(-len(layout.grid), 0))

    @property
    def batch_size(self) -> int:
        """How many rows may go through the model at once; one, where rows influence each other."""
        return 1 if self._pass.rows.apart else self._pass.forward.batch_size

    @property
    def _held(self) -> Array:
        held = self._pass.held.get(self.held_as)
        return self._backend.image(self._pass.inputs) if held is None else self._backend.detached(held)

    @cached_property
    def activations(self) -> Array:
        """The layer's output: (n, c, *s)."""
        return self._backend.full_precision(self.layout.fold(self._held, self._ops))

    @cached_property
    def gradients(self) -> Array:
        """d scores[n, k] / d activations[n]: (n, k, c, *s)."""
        shared = self._pass if self.held_as in self._pass.held else self._pass.from_input
        folded = self.layout.fold(shared.gradients[self.held_as], self._ops)
        return self._backend.full_precision(self._ops.moveaxis(folded, 0, 1))

    def tail(self, activations: Array) -> Array:
        """Scores of other activations: (m, c, *s) -> (m, k); row j belongs to image j % n."""
        with self._backend.no_gradient():
            return self._tail(activations)

    def _tail(self, activations: Array, *, traced: bool = True) -> Array:
        held, shared, backend = self._held, self._pass, self._backend
        times = self._times(activations)
        axis = self.layout.axes[0]
        like = self._ops.concat([held] * times, axis=axis) if self.layout.extra else held
        raw = self.layout.unfold(self._ops.astype(activations, held.dtype), like, self._ops)
        if self.held_as == INPUT.name:
            return shared.score(backend.outputs(backend.with_image(shared.inputs, raw, times)))
        return shared.score(backend.tail(self.held_as, raw, axis, shared.forward, times, traced=traced))

    def _times(self, rows: Array) -> int:
        n = len(self._pass.scores)
        times, rest = divmod(len(rows), n)
        if rest:
            raise ValueError(f"further rows must be a multiple of the batch's {n} rows. Received: {len(rows)}.")
        return times

    def curvature(self, direction: Array) -> Array:
        """The Hessian of each score times ``direction``: (n, c, *s) -> (n, k, c, *s)."""
        return self._backend.curvature(self._tail, self.activations, direction, self.name)

    @property
    def image(self) -> LayerProbe:
        """The model's input, seen as a layer."""
        return self._pass.image

    @property
    def layers(self) -> Sequence[LayerProbe]:
        """The probes of all the layers of this pass."""
        return self._pass.probes

    def with_images(self, images: Array) -> LayerProbe:
        """The same layer and targets for other images; row j belongs to image j % n."""
        times, shared = self._times(images), self._pass
        images = shared.image.layout.unfold(images, shared.image._held, self._ops)
        inputs = self._backend.with_image(shared.inputs, images, times)
        known = [Layer(probe.held_as, layout=probe.layout) for probe in (*self.layers, self)]
        wanted = list({layer.name: layer for layer in known}.values())
        again = shared.again(wanted, inputs=inputs, times=times, rule=shared.forward.rule)
        return next(probe for probe in again.probes if probe.held_as == self.held_as)

    def with_targets(self, targets: ScoreSpec) -> LayerProbe:
        """The same forward pass, with other targets explained."""
        with self._backend.with_gradient():
            shared = ModelPass(self._backend, self._pass.forward, targets)
        return next((probe for probe in shared.probes if probe.held_as == self.held_as), shared.image)

    def rectified(self, rule: str) -> LayerProbe:
        """The same, where gradients pass rectifiers by another rule."""
        return self._pass.again([Layer(self.held_as, layout=self.layout)], rule=rule).probes[0]

    def bias_terms(self, target: int) -> Iterator[Array]:
        """What each module adds by itself to the score of one target, (n, c, *s), module by module."""
        found: Iterator[Array] = self._pass.biases.terms(target)
        return found
