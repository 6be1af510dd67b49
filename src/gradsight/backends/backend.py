"""What the backends of all frameworks share: each adds how its own arrays are run and differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.ablation import Ablation
from gradsight.backends.attends import Attends
from gradsight.backends.batches import Batches
from gradsight.backends.linking import CallSeen
from gradsight.backends.passes import ForwardT, ModelPass, Targets, Terms
from gradsight.backends.reading import Known, Reader
from gradsight.backends.trial import Trials
from gradsight.backends.unchanged import Value
from gradsight.backends.unlearning import Unlearning
from gradsight.contracts import Floats, Kind, Part, Reads, Resolve
from gradsight.foreign import Array, Inputs, Module, Ops, Outputs
from gradsight.layers import INPUT, Layer, Seen
from gradsight.layouts import Layout, forced_layout
from gradsight.positions import Positions
from gradsight.recent import Recent
from gradsight.targets import Reading, ScoreSpec


class ModelBackend(Attends[ForwardT], Unlearning, ABC):
    """`contracts.Backend`, but for what differs by framework. Threads may share it.

    Attributes:
        ops: array functions under the names of the Array API standard.
        channels_last: whether images are (n, *positions, channels).
        one_graph: whether a pass with a rule gives the gradients of layers, of the image, and by every rule.
        compiles_by_size: whether another number of images costs another compilation of the model.
        batches: what batches hold.
        reader: reads what the model gives.
        attention_trials: by kind of inputs, the calls of attention, where they were asked for.
        blocks: by kind of inputs and layer, the layers that give the blocks' output tokens, where asked for.
    """

    ops: Ops
    channels_last: bool
    one_graph: bool = False
    compiles_by_size: bool = False

    def __init__(self, batches: Batches, known: Known, left_out: Callable[[], str]) -> None:
        """Nothing is run.

        Args:
            batches: of the framework.
            known: what is known of the model's scores.
            left_out: gives the activation that is left out, once the model has run.
        """
        self.batches = batches
        # It is told what it needs, not given this backend: the two would hold each other, with all that they keep.
        self.reader = Reader(self.ops, self.numpy, left_out, known, channels=-1 if self.channels_last else 1)
        self._trials = Trials()
        self.attention_trials: Recent[Kind, tuple[CallSeen, ...]] = Recent()
        self.blocks: Recent[tuple[Kind, str], Sequence[str]] = Recent()

    @property
    @abstractmethod
    def was_training(self) -> bool:
        """Whether some part of the user's model is in training mode; it is explained in evaluation mode."""

    @property
    @abstractmethod
    def draws(self) -> bool:
        """Whether the model drew random numbers in the passes so far."""

    @property
    @abstractmethod
    def left_out(self) -> str:
        """The activation at the model's end that is left out to have logits; empty if none."""

    # The batch.

    @abstractmethod
    def prepare(self, inputs: Inputs) -> Inputs:
        """Turn NumPy arrays or tensors into a batch on the model's device, in its precision."""

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""
        return self.batches.count(inputs)

    def size(self, inputs: Inputs) -> tuple[int, ...]:
        """The image's positions, such as (224, 224)."""
        return self.batches.size(inputs)

    def channel_axis(self, inputs: Inputs) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""
        return self.batches.channel_axis(inputs)

    def kind(self, inputs: Inputs) -> Kind:
        """What tells inputs apart, whatever the number of rows."""
        return self.batches.kind(inputs)

    def row(self, inputs: Inputs, i: int) -> Inputs:
        """A batch of image ``i`` alone, with what belongs to it."""
        return self.batches.row(inputs, i)

    # The output.

    def reading(self, outputs: Outputs) -> Reading:
        """How class scores are read from a model's output, and what they are."""
        return self.reader.reading(outputs)

    def scores_in(self, outputs: Outputs) -> Array | None:
        """The class scores in a model's output, (n, classes); None where it has none."""
        return self.reader.scores(outputs)

    def dense_in(self, outputs: Outputs) -> Array | None:
        """The class scores at positions in a model's output, (n, classes, rows, columns); None where it has none."""
        return self.reader.dense(outputs)

    def sequence_in(self, outputs: Outputs) -> Array | None:
        """The class scores along a sequence in a model's output, (n, length, classes); None if none."""
        return self.reader.sequence(outputs)

    def reads(self, outputs: Outputs, resolved: ScoreSpec) -> Reads:
        """Which tensors of an output targets read; see `contracts.Backend.reads`."""
        if resolved.of_classes:
            return "classes"

        def scores(outputs: Outputs) -> Array:
            return resolved.scores(outputs, self.scores_in(outputs), self.ops)

        slopes = enumerate(self.output_slopes(scores, outputs))
        channels = -1 if self.channels_last else 1
        return tuple((i, _reaches_several(slope, channels)) for i, slope in slopes if slope is not None)

    @abstractmethod
    def output_slopes(self, function: Callable[[Outputs], Array], outputs: Outputs) -> list[Floats | None]:
        """The gradient of ``function(outputs)``, summed, by each floating-point tensor; None where it reads none."""

    @staticmethod
    @abstractmethod
    def numpy(array: Array, /) -> Floats:
        """Copy to NumPy: float64 stays, everything else becomes float32."""

    @staticmethod
    @abstractmethod
    def detached(array: Array, /) -> Array:
        """An array without its graph."""

    @staticmethod
    @abstractmethod
    def full_precision(array: Array, /) -> Array:
        """Half precisions as float32: methods sum over thousands of products."""

    @staticmethod
    @abstractmethod
    def is_coarse(array: Array, /) -> bool:
        """Whether what is computed with such an array here has about three digits, and not seven or more."""

    # The layers.

    @abstractmethod
    def names(self) -> Mapping[str, str]:
        """The names of the model's layers, and the kind of each."""

    @abstractmethod
    def name_of(self, layer: str | Module) -> str | None:
        """The name of a layer of the user's, or a name as they may write it; None for anything else."""

    @abstractmethod
    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""

    @abstractmethod
    def call_of(self, layer: str) -> str:
        """The name that the positions know a layer by."""

    def positions(self, inputs: Inputs) -> Positions:
        """How the layers' outputs are laid out, found out by a trial, once for each kind of inputs."""
        return self._trials.of(self, inputs)

    @abstractmethod
    def usual(self, call: str, shape: tuple[int, ...], inputs: Inputs) -> Sequence[Layout]:
        """The layouts that a call's output of ``shape`` would have by its shape, for one image."""

    def layout(self, layer: Layer, shape: Sequence[int], inputs: Inputs) -> Layout:
        """How a layer's output is laid out: as the user says, as was found, or as its shape tells."""
        if layer.name == INPUT.name:
            return self.batches.image_layout(inputs)
        if layer.order is not None or layer.grid is not None:
            return forced_layout(shape, layer.order, layer.grid)
        if layer.layout is not None:
            return layer.layout
        return self.positions(inputs).layout(self.call_of(layer.name), shape, self.count(inputs), self.size(inputs))

    # The passes.

    @abstractmethod
    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""

    def of_one_moment(self, make: Callable[[], Value]) -> Value:
        """What ``make()`` gives, of weights that stayed as they are while it ran; else a `ModelError` says so."""
        with self.unchanged():
            return make()

    @staticmethod
    @abstractmethod
    def no_gradient() -> AbstractContextManager[object]:
        """Within it no graph is recorded."""

    @staticmethod
    @abstractmethod
    def with_gradient() -> AbstractContextManager[object]:
        """Within it a graph is recorded, whatever mode the caller is in."""

    @abstractmethod
    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""

    def outputs_again(self, forward: ForwardT, inputs: Inputs) -> Outputs:  # noqa: ARG002 - for backends that keep graphs
        """Run the model on other inputs of the kind of a pass, by what was made for that pass where it serves."""
        return self.outputs(inputs)

    @abstractmethod
    def run(
        self,
        inputs: Inputs,
        layers: Sequence[Layer],
        targets: Targets,
        batch_size: int = 32,
        *,
        rule: str | None = None,
    ) -> ModelPass[ForwardT]:
        """Push a batch through; see `contracts.Backend.run`.

        Targets may be resolved already; ``rule`` says how gradients pass rectifiers, see `rectifiers`.
        """

    @abstractmethod
    def trace(self, inputs: Inputs, targets: Resolve) -> list[Seen]:
        """Run the first image once, and tell what was seen of each layer, in the order they ran."""

    @abstractmethod
    def varied(self, inputs: Inputs, seed: int) -> Outputs | None:
        """What the model gives for another first image by other weights; None where it fails by them."""

    @abstractmethod
    def tail(self, name: str, raw: Array, axis: int, forward: ForwardT, times: int, *, traced: bool = True) -> Outputs:
        """The model's output where a layer gives ``raw``, ``times`` rows along ``axis`` for each image.

        If not ``traced``, the whole model runs, not a graph of its tail.
        """

    def ablated(self, name: str, ablations: Iterable[Ablation], shared: ModelPass[ForwardT]) -> Iterator[Array]:
        """The scores (m * n, k) of a pass where channels of a layer are off, by ablation."""
        for ablation in ablations:
            rows, times = ablation.rows(self.ops), len(ablation.groups)
            yield shared.score(self.tail(name, rows, ablation.axis, shared.forward, times))

    @abstractmethod
    def gradients(self, shared: ModelPass[ForwardT]) -> dict[str, Array]:
        """By leaf of a pass, d scores[:, k] / d output: (k, *output)."""

    def is_piecewise_linear(self, shared: ModelPass[ForwardT], leaf: str) -> bool:  # noqa: ARG002 - not known of any
        """Whether the scores of a pass have no second derivative by a leaf other than zero, as far as is known."""
        return False

    @abstractmethod
    def curvature(self, function: Callable[..., Array], leaf: Array, direction: Array, layer: str) -> Array:
        """The Hessian of each column of ``function(leaf)`` (n, k), times ``direction``: (n, k, *leaf[0]).

        Raises:
            ModelError: something behind the layer has no second derivative.
        """

    def from_input(self, shared: ModelPass[ForwardT]) -> ModelPass[ForwardT]:
        """A pass, differentiated from the input on."""
        return shared.again([INPUT], rule=shared.forward.rule)

    def ruled(self, shared: ModelPass[ForwardT], layer: Layer, rule: str) -> ModelPass[ForwardT]:
        """A pass at a layer with gradients that pass rectifiers by a rule."""
        return shared.again([layer], rule=rule)

    @abstractmethod
    def biases(self, shared: ModelPass[ForwardT]) -> Terms:
        """What modules add by themselves in a pass."""


def _reaches_several(slope: NDArray[np.floating], channels: int) -> bool:
    """Whether more than one channel of an output, which are on this axis, has a gradient."""
    if slope.ndim < 2:
        return False
    by_channel = np.moveaxis(slope, channels, 0).reshape(slope.shape[channels], -1)
    return int(np.count_nonzero(by_channel.any(axis=1))) > 1
