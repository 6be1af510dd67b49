"""What the floors promise each other: the probe, the pass, the backend of a model as it is, and the user's model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.attention import Attending
from gradsight.foreign import Array, Inputs, Module, Ops, Outputs
from gradsight.layers import Layer, Seen
from gradsight.rows import CountsRows
from gradsight.rows import Rows as Rows
from gradsight.targets import Reading, ScoreSpec

Value = TypeVar("Value")

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
"""Numbers copied to NumPy: float64 stays, all else becomes float32."""

Kind: TypeAlias = tuple[Hashable, tuple[Hashable, ...]]
"""What tells inputs apart, whatever the number of rows: how they are nested, and the shapes of one row."""

Part: TypeAlias = tuple[int, str]
"""Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""

Reads: TypeAlias = str | tuple[tuple[int, bool], ...]
"""What targets read of an output: ``"classes"``, or which of its tensors, and whether of more than one channel."""

Resolve: TypeAlias = Callable[[NDArray[np.float64] | None, Outputs], ScoreSpec]
"""``(logits, outputs) -> targets``, what is explained of a model's output; ``logits`` are its class scores
(n, classes), None where it has none."""

TRUE = "true"
"""The rule that changes nothing: of a pass that notes its rectifiers, so that the others can follow in its graph."""


class Probe(Protocol):
    """One batch pushed through one model, seen at one layer. Everything is computed at first use and then kept.

    n images, k targets, c channels, positions ``*s`` (one, two or three axes). Channels come first whatever the
    framework; tokens are folded to their grid. Arrays are float32 (float64 where the model is).
    """

    @property
    def name(self) -> str:
        """The layer's name; ``"input"`` for the model's input."""

    @property
    def activations(self) -> Array:
        """The layer's output: (n, c, *s)."""

    @property
    def gradients(self) -> Array:
        """d scores[n, k] / d activations[n]: (n, k, c, *s), from one batched backward pass of the tail alone."""

    @property
    def alphas(self) -> Array:
        """The mean of the gradients over positions, the weights of Grad-CAM (eq. 1): (n, k, c)."""

    @property
    def highest(self) -> Array:
        """The highest gradient of each channel over positions: (n, k, c)."""

    @property
    def scores(self) -> Array:
        """The explained scores, logits where the model has them: (n, k)."""

    @property
    def spatial(self) -> tuple[int, ...]:
        """The axes of the positions, counted from the end, for both activations and gradients: (-2, -1)."""

    @property
    def targets(self) -> ScoreSpec:
        """What is explained."""

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """The class scores (n, classes); None where the model gives something else."""

    @property
    def batch_size(self) -> int:
        """How many rows may go through the model at once, beyond the batch itself."""

    def tail(self, activations: Array, *, traced: bool = True) -> Array:
        """Scores of other activations at the layer, without a gradient: (m, c, *s) -> (m, k).

        m is a multiple of n, and row j belongs to image j % n: it keeps that image's targets, extra tokens, and
        whatever bypasses the layer. What is asked once is quicker if not ``traced``: no graph has to be made first.
        """

    def without_channels(self, groups: NDArray[np.intp]) -> Array:
        """Scores where some channels are 0 at all positions: numbers of channels (m, g) -> (m * n, k).

        Each row of ``groups`` by itself, ``batch_size`` rows at once; row j belongs to image j % n, as in ``tail``.
        """

    def curvature(self, direction: Array) -> Array:
        """The Hessian of each score by the activations, times ``direction``: (n, c, *s) -> (n, k, c, *s)."""

    @property
    def attention(self) -> Sequence[Array]:
        """The weights of each self-attention over the layer's tokens, in the order they ran: (n, heads, t, t)."""

    @property
    def attention_gradients(self) -> Sequence[Array]:
        """By block, d scores[n, k] / d attention[n]: (n, k, heads, t, t), from one batched backward pass."""

    @property
    def attending(self) -> Attending:
        """How the layer's tokens reach the scores by attention; nothing of it is computed before it is asked for."""

    @property
    def image(self) -> Probe:
        """The model's input, seen as a layer: its activations are the image, its tail is the whole model."""

    @property
    def layers(self) -> Sequence[Probe]:
        """The probes of all the layers of this pass."""

    def with_images(self, images: Array) -> Probe:
        """The same layer and targets for other images: (m, channels, *positions); rows as in ``tail``."""

    def in_pieces(self, images: Array) -> Iterator[Probe]:
        """The same as `with_images`, as many rows at a time as pass the model quickest, in their order."""

    @property
    def weighted(self) -> Sequence[Sequence[str]]:
        """By layer, as they run, the names of all whose weights it uses; ``""`` is the model. One pass, once."""

    def randomised(self, layers: Collection[str], seed: int) -> Probe:
        """The same where layers that `weighted` names have lost what they learned; see `backends.randomising`."""

    def randomised_in_pieces(self, layers: Collection[str], seed: int) -> Iterator[Probe]:
        """The same as `randomised`, some rows at a time; see `in_pieces`."""

    def with_targets(self, targets: ScoreSpec) -> Probe:
        """The same forward pass, with other targets explained."""

    def rectified(self, rule: str) -> Probe:
        """The same, where only positive gradients pass rectifiers (ReLU and its kin).

        Times the true derivative by the rule ``"guided"``, whatever went forward by ``"deconvnet"``.
        """

    def bias_terms(self, target: int) -> Iterator[Array]:
        """What each module adds to the score of one target by itself: (n, c, *s), module by module.

        It is d score / d output times the part of the module's output that is not linear in its input: the bias of a
        convolution, the shift of a normalisation. With gradient times input they add up to the score, as far as the
        model is made of modules. A module without positions gives (n, c).
        """


class Pass(Protocol):
    """One forward pass and at most one backward pass, shared by the probes of several layers."""

    @property
    def probes(self) -> Sequence[Probe]:
        """One probe for each layer asked for, in that order."""

    @property
    def rows(self) -> Rows:
        """How the model takes the rows of such a batch; found out once, at the price of a pass."""

    @property
    def image(self) -> Probe:
        """The probe of the model's input."""

    @property
    def scores(self) -> Array:
        """The explained scores: (n, k)."""

    @property
    def targets(self) -> ScoreSpec:
        """The targets, resolved against the model's output."""

    @property
    def outputs(self) -> Outputs:
        """The model's own output."""

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """The class scores (n, classes) in the output, or None where it is no row of class scores."""


class Backend(CountsRows, Protocol):
    """One model as it is now, in the hands of its framework: all that the floors above ask of it.

    How a framework does it is a matter of `gradsight.backends`: `backends.backend.ModelBackend` is what both share.
    """

    @property
    def ops(self) -> Ops:
        """Array functions under the names of the Array API standard."""

    @property
    def was_training(self) -> bool:
        """Whether some part of the model is in training mode; it is explained in evaluation mode all the same."""

    @property
    def draws(self) -> bool:
        """Whether the model drew random numbers in the passes so far."""

    @property
    def left_out(self) -> str:
        """The activation at the model's end that is left out to have logits, such as ``"softmax"``; empty if none."""

    @property
    def channels_last(self) -> bool:
        """Whether images are (n, *positions, channels)."""

    @property
    def one_graph(self) -> bool:
        """Whether a pass with a rule gives the gradients of layers, of the image, and by every rule."""

    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""

    def of_one_moment(self, make: Callable[[], Value]) -> Value:
        """What ``make()`` gives, of weights that stayed as they are while it ran; else a `ModelError` says so.

        It may run twice: where weights were changed shortly before, the second time tells that it was not meanwhile.
        """

    def prepare(self, inputs: Inputs) -> Inputs:
        """Turn NumPy arrays or tensors into a batch on the model's device, in its precision."""

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""

    def size(self, inputs: Inputs) -> tuple[int, ...]:
        """The positions of the image in a batch, such as (224, 224)."""

    def channel_axis(self, inputs: Inputs) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""

    def kind(self, inputs: Inputs) -> Kind:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""

    def row(self, inputs: Inputs, i: int) -> Inputs:
        """A batch of image ``i`` alone, with what belongs to it."""

    def names(self) -> Mapping[str, str]:
        """The names of the model's layers, and the kind of each."""

    def name_of(self, layer: str | Module) -> str | None:
        """The name of a layer of the user's, or a name as they may write it; None for anything else."""

    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""

    def trace(self, inputs: Inputs, targets: Resolve) -> list[Seen]:
        """Run the first image once, and tell what was seen of each layer, in the order they ran."""

    def run(
        self,
        inputs: Inputs,
        layers: Sequence[Layer],
        targets: Resolve,
        batch_size: int = 32,
        *,
        rule: str | None = None,
    ) -> Pass:
        """Push a batch through the model, seen at ``layers`` (`layers.INPUT` is the input itself).

        Without layers no graph is recorded. ``batch_size`` bounds the rows that methods push through at once. ``rule``
        says how gradients pass rectifiers; with `TRUE` they do as ever, and can by every rule, if `one_graph`.
        """

    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""

    def reads(self, outputs: Outputs, resolved: ScoreSpec) -> Reads:
        """Which tensors of an output targets read: of a model with several heads each has layers of its own."""

    def reading(self, outputs: Outputs) -> Reading:
        """How class scores are read from a model's output, and what they are."""

    def scores_in(self, outputs: Outputs) -> Array | None:
        """The class scores in a model's output, (n, classes); None where it has none."""

    def dense_in(self, outputs: Outputs) -> Array | None:
        """The class scores at positions in a model's output, (n, classes, rows, columns); None where it has none."""

    def sequence_in(self, outputs: Outputs) -> Array | None:
        """The class scores along a sequence in a model's output, (n, length, classes); None if none."""

    def numpy(self, array: Array, /) -> Floats:
        """Copy an array to NumPy: float32, or float64 where it already is."""


class UserModel(Protocol):
    """The user's model, which may change between calls: other weights, other layers, another device."""

    def backend(self) -> Backend:
        """The backend of the model as it is now. One call of ours asks once and stays with the answer."""
