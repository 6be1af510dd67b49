"""Passes on any framework: what one forward pass gave, and what is explained in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.probe import LayerProbe
from gradsight.backends.rows import rows_of
from gradsight.cached import cached_property
from gradsight.contracts import Resolve, Rows
from gradsight.foreign import Array, Inputs, Outputs
from gradsight.layers import INPUT, Layer
from gradsight.layouts import Layout
from gradsight.targets import ScoreSpec

if TYPE_CHECKING:
    from gradsight.backends.backend import ModelBackend

Targets: TypeAlias = ScoreSpec | Resolve
"""What is explained: resolved already, or how it is resolved against an output."""


@dataclass(frozen=True)
class Forward:
    """One forward pass of one batch.

    Attributes:
        inputs: what went in.
        outputs: what came out.
        leaves: by layer name, its output, where differentiation starts.
        layouts: by layer name, how it is laid out.
        rule: the rule by which gradients pass rectifiers; None for the true one.
        batch_size: how many rows further passes may have.
    """

    inputs: Inputs
    outputs: Outputs
    leaves: dict[str, Array]
    layouts: dict[str, Layout]
    rule: str | None
    batch_size: int


ForwardT = TypeVar("ForwardT", bound=Forward)


class Terms(Protocol):
    """What the modules of a model add by themselves in one pass."""

    def terms(self, target: int) -> Iterator[Array]:
        """See `contracts.Probe.bias_terms`."""


def logits_in(backend: ModelBackend[Any], inputs: Inputs, outputs: Outputs) -> NDArray[np.float64] | None:
    """The class scores that a model gave for inputs, (n, classes); None where there are none.

    With it is resolved how its outputs are read.
    """
    _settle_reading(backend, inputs, outputs)
    return _numbers(backend, backend.scores_in(outputs))


def _settle_reading(backend: ModelBackend[Any], inputs: Inputs, outputs: Outputs) -> None:
    backend.reader.resolve(outputs, backend.count(inputs), partial(backend.varied, inputs))


def _numbers(backend: ModelBackend[Any], scores: Array | None) -> NDArray[np.float64] | None:
    return None if scores is None else backend.numpy(scores).astype(np.float64)


class ModelPass(Generic[ForwardT]):
    """`contracts.Pass`: a forward pass and what is explained in it; backward on demand, for several layers."""

    def __init__(self, backend: ModelBackend[ForwardT], forward: ForwardT, targets: Targets) -> None:
        """Explain targets in a forward pass."""
        self.backend, self.forward = backend, forward
        self.inputs, self.outputs, self.leaves = forward.inputs, forward.outputs, forward.leaves
        _settle_reading(backend, self.inputs, self.outputs)
        # Found once for all that reads them here: they are the same tensor, with its graph.
        self.class_scores: Array | None = backend.scores_in(self.outputs)
        self.logits = _numbers(backend, self.class_scores)
        self.targets: ScoreSpec = targets if isinstance(targets, ScoreSpec) else targets(self.logits, self.outputs)
        # With its graph: other targets of the same pass are differentiated along it too, so that it stays.
        self.graph = self._score(self.outputs, self.class_scores, self.targets)
        self.scores = backend.detached(self.graph)
        self._ruled: dict[tuple[str, str], ModelPass[ForwardT]] = {}

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
        return LayerProbe(self, INPUT.name, layout or self.backend.batches.image_layout(self.inputs))

    def score(self, outputs: Outputs, targets: ScoreSpec | None = None) -> Array:
        """The targets' scores (m, k) of an output of the model; others where they are given."""
        return self._score(outputs, self.backend.scores_in(outputs), targets or self.targets)

    def _score(self, outputs: Outputs, class_scores: Array | None, targets: ScoreSpec) -> Array:
        return self.backend.full_precision(targets.scores(outputs, class_scores, self.backend.ops))

    def scored(self, outputs: Outputs) -> NDArray[np.float64]:
        """Of an output of the model the class scores, or what is explained where there are none: (m, k)."""
        scores = self.backend.scores_in(outputs)
        return self.backend.numpy(self.score(outputs) if scores is None else scores).astype(np.float64)

    @cached_property
    def rows(self) -> Rows:
        """How the model takes the rows of such inputs; found out once, at the price of a pass."""

        def made() -> Rows:
            with self.backend.unchanged():  # else what is remembered would be of no model
                return rows_of(self)

        return self.backend.batches.rows.of(self.backend.kind(self.inputs), made)

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """By layer, d scores[:, k] / d output: (k, *output)."""
        return self.backend.gradients(self)

    @cached_property
    def biases(self) -> Terms:
        """What the modules add by themselves."""
        return self.backend.biases(self)

    @cached_property
    def from_input(self) -> ModelPass[ForwardT]:
        """This pass, differentiated from the input on."""
        return self if INPUT.name in self.leaves else self.backend.from_input(self)

    def ruled(self, layer: Layer, rule: str) -> ModelPass[ForwardT]:
        """This pass at a layer with gradients that pass rectifiers by a rule; made once for each."""
        key = layer.name, rule
        if key not in self._ruled:
            self._ruled[key] = self.backend.ruled(self, layer, rule)
        return self._ruled[key]

    def with_targets(self, targets: ScoreSpec) -> ModelPass[ForwardT]:
        """The same forward pass, with other targets explained."""
        with self.backend.with_gradient():
            return ModelPass(self.backend, self.forward, targets)

    def again(
        self, layers: Sequence[Layer], *, inputs: Inputs = None, times: int = 1, rule: str | None = None
    ) -> ModelPass[ForwardT]:
        """Another forward pass for the same targets."""
        inputs = self.inputs if inputs is None else inputs
        return self.backend.run(inputs, layers, self.targets.tiled(times), self.forward.batch_size, rule=rule)
