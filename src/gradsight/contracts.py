"""What the floors promise each other: the probe, the backend, a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Choice, Flag, Function, Instance, Text
from gradsight.targets import Labels, Reading, Resolved, as_labels

Array = Any
"""An array of the model's framework."""

Reads = str | tuple[tuple[int, bool], ...]
"""What targets read of a model's output: ``"classes"``, its class scores, or which of its tensors, and whether of
more than one channel."""


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
    def known_gradients(self) -> Array | None:
        """``gradients``, if they were asked of this probe already; None otherwise."""

    def anew(self) -> Probe:
        """The same probe as nobody has used it yet; the pass behind it is shared."""

    @property
    def scores(self) -> Array:
        """The explained scores, logits where the model has them: (n, k)."""

    @property
    def spatial(self) -> tuple[int, ...]:
        """The axes of the positions, counted from the end, for both activations and gradients: (-2, -1)."""

    @property
    def targets(self) -> Resolved:
        """What is explained."""

    @property
    def logits(self) -> Any:
        """The class scores as a NumPy array (n, classes); None where the model gives something else."""

    @property
    def batch_size(self) -> int:
        """How many rows may go through the model at once, beyond the batch itself."""

    def tail(self, activations: Array) -> Array:
        """Scores of other activations at the layer, without a gradient: (m, c, *s) -> (m, k).

        m is a multiple of n, and row j belongs to image j % n: it keeps that image's targets, extra tokens, and
        whatever bypasses the layer.
        """

    def curvature(self, direction: Array) -> Array:
        """The Hessian of each score by the activations, times ``direction``: (n, c, *s) -> (n, k, c, *s)."""

    @property
    def image(self) -> Probe:
        """The model's input, seen as a layer: its activations are the image, its tail is the whole model."""

    @property
    def layers(self) -> Sequence[Probe]:
        """The probes of all the layers of this pass."""

    def at(self, images: Array) -> Probe:
        """The same layer and targets for other images: (m, channels, *positions); rows as in ``tail``."""

    def towards(self, targets: Resolved) -> Probe:
        """The same forward pass, with other targets explained."""

    def rectified(self, rule: str) -> Probe:
        """The same, where gradients pass rectifiers (ReLU and its kin) by another rule.

        ``"guided"``: only positive ones pass, times the true derivative. ``"deconvnet"``: only positive ones pass,
        whatever went forward.
        """

    def bias_terms(self, target: int) -> Iterator[Array]:
        """What each module adds to the score of one target by itself: (n, c, *s), module by module.

        It is d score / d output times the part of the module's output that is not linear in its input: the bias of a
        convolution, the shift of a normalisation. With gradient times input they add up to the score, as far as the
        model is made of modules. A module without positions gives (n, c).
        """


@dataclass(frozen=True)
class Rows:
    """How a model takes the rows of a batch.

    Attributes:
        shared: which tensors among the inputs, counted in their order, are the same for every image. They have as many
            rows as the batch by chance, such as a factor of shape (1,) beside one image.
        apart: what an image gets depends on what is beside it in the batch, as where a normalisation takes its
            statistics from there. Then each image has to go through the model alone.
    """

    shared: frozenset[int] = frozenset()
    apart: bool = False


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
    def targets(self) -> Resolved:
        """The targets, resolved against the model's output."""

    @property
    def outputs(self) -> Any:
        """The model's own output."""

    @property
    def logits(self) -> Any:
        """The output as a float64 NumPy array (n, classes), or None where it is no row of class scores."""


class Backend(Protocol):
    """All that gradsight asks of a framework."""

    ops: Any
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

    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""

    def prepare(self, inputs: Any) -> Any:
        """Turn NumPy arrays or tensors into a batch on the model's device, in its precision."""

    def count(self, inputs: Any) -> int:
        """How many images a batch holds."""

    def size(self, inputs: Any) -> tuple[int, ...]:
        """The positions of the image in a batch."""

    def channel_axis(self, inputs: Any) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""

    def names(self) -> Mapping[str, str]:
        """The names of the model's layers, and the kind of each."""

    def name_of(self, layer: Any) -> str | None:
        """The name of a layer: one of the user's own modules, or a name as it may be given. None for anything else."""

    def part(self, layer: str) -> tuple[int, str] | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""

    def trace(self, inputs: Any, targets: Any) -> Any:
        """Run the first image once and return what was seen of each layer, in the order they ran (`layers.Seen`)."""

    def run(self, inputs: Any, layers: Sequence[Any], targets: Any, batch_size: int = 32) -> Pass:
        """Push a batch through the model, seen at ``layers`` (`layers.Layer`; `layers.INPUT` is the input itself).

        ``targets(logits, outputs)`` settles what is explained. Without layers no graph is recorded. ``batch_size``
        bounds the rows that methods push through at once.
        """

    def kind(self, inputs: Any) -> tuple[Any, Any]:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""

    def row(self, inputs: Any, i: int) -> Any:
        """A batch of image ``i`` alone, with what belongs to it."""

    def reads(self, outputs: Any, resolved: Resolved) -> Reads:
        """Which tensors of an output targets read: of a model with several heads each has layers of its own."""

    def reading(self, outputs: Any) -> Reading:
        """How class scores are read from a model's output, and what they are."""

    def scores_in(self, outputs: Any) -> Any:
        """The class scores in a model's output, (n, classes); None where it has none."""

    def dense_in(self, outputs: Any) -> Any:
        """The class scores at positions in a model's output, (n, classes, rows, columns); None where it has none."""

    def sequence_in(self, outputs: Any) -> Any:
        """The class scores at places of a sequence in a model's output, (n, length, classes); None if none."""

    def outputs(self, inputs: Any) -> Any:
        """Run the model."""

    def numpy(self, array: Array) -> Any:
        """Copy an array to NumPy: float32, or float64 where it already is."""


class UserModel(Protocol):
    """The user's model, which may change between calls: other weights, other layers, another device."""

    def backend(self) -> Backend:
        """The backend of the model as it is now. One call of ours asks once and stays with the answer."""


@dataclass(frozen=True)
class Scores:
    """How the classes' scores are read from what a model gives, where that is not one row of them for each image.

    Attributes:
        function: from the model's own output to scores (n, classes), differentiable.
        activation: what makes probabilities of them: ``"softmax"``, ``"sigmoid"``, or empty where they have none, as
            those of a detector.
        missing: where they are none of classes, the text of the error when a class is asked for.
    """

    function: Callable[[Any], Any]
    activation: str = "softmax"
    missing: str = ""

    def __post_init__(self) -> None:
        taken("`function` of Scores", self.function, Function("outputs -> (n, classes)"))
        taken("`activation` of Scores", self.activation, Choice(("softmax", "sigmoid", ""), "activation"))
        taken("`missing` of Scores", self.missing, Text())


@dataclass(frozen=True)
class Writing:
    """How a model writes a text about a photo, for `gradsight.caption` and `gradsight.ask`.

    A text is a row of tokens, whole numbers. Those that the model was given come first: a start, the beginning of a
    caption. What it wrote is then fed back in one pass, which scores each token where the model wrote it.

    Attributes:
        write: from a batch of one photo as ``preprocess`` makes it, NumPy, to the tokens of the whole text, (length,).
        feed: from that batch, and the tokens but the last, (1, length - 1) as int64, to what the model takes. Its
            output must hold the scores of the next token at each place, (1, length - 1, vocabulary); more places
            before them, such as those of the photo, do no harm.
        words: from the tokens, (length,), to the words that the model wrote: of each its text, and the places of its
            tokens among them. What has no place here, such as marks of start and end, is not explained.
        text: from the tokens to the text as people read it; None for the words with spaces between them.
        answers: the text is the answer to a question, and no caption.
    """

    write: Callable[[Any], Any]
    feed: Callable[[Any, Any], Any]
    words: Callable[[Any], Sequence[tuple[str, Sequence[int]]]]
    text: Callable[[Any], str] | None = None
    answers: bool = False

    def __post_init__(self) -> None:
        for name in ("write", "feed", "words"):
            taken(f"`{name}` of Writing", getattr(self, name), Function())
        optional("`text` of Writing", self.text, Function())
        taken("`answers` of Writing", self.answers, Flag())


@dataclass(frozen=True)
class LoadedModel:
    """What a model source gives: ``model, preprocess, labels = gs.load_model("demo")``.

    Attributes:
        model: the model, in evaluation mode.
        preprocess: turns a photo into the model's input and knows the way back (`imaging.Preprocess`).
        labels: the class names by index, given as `Explainer` takes them; None where they are not known.
        scores: how class scores are read from its output; None where it gives one row of them for each image.
        feed: from a batch of photos as ``preprocess`` makes them to what the model takes; None where it takes that.
        detections: how a detector's predictions are read from its output, see `Explainer`.
        embedding: how embeddings are read from its output, see `Explainer`.
        embed_text: from a text to its embedding, see `Explainer`.
        reads: where the model reads a text beside the photo, a question or the beginning of a caption: from that to the
            fields that it changes, such as ``{"feed": ...}``. With it the model is asked again without being loaded.
        writing: how it writes texts; None where it writes none.
        left_out: the activation at its end that was left out in loading, such as ``"softmax"``; empty if none.
    """

    model: Any
    preprocess: Callable[..., Any] | None = None
    labels: Labels | None = None
    scores: Scores | None = None
    feed: Callable[[Any], Any] | None = None
    detections: Callable[[Any], Any] | None = None
    embedding: Callable[[Any], Any] | None = None
    embed_text: Callable[[str], Any] | None = None
    reads: Callable[[str], Mapping[str, Any]] | None = None
    writing: Writing | None = None
    left_out: str = ""

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", as_labels(self.labels))
        for name in ("preprocess", "feed", "detections", "embedding", "embed_text", "reads"):
            if not hasattr(getattr(self, name), "place"):
                optional(name, getattr(self, name), Function())
        if not isinstance(self.scores, Scores):
            optional("scores", self.scores, Function("a gs.Scores, or a function outputs -> (n, classes)"))
        optional("writing", self.writing, Instance(Writing, "a gs.Writing"))
        taken("left_out", self.left_out, Text())

    def about(self, text: str) -> LoadedModel:
        """The same model, which stays as it is, with another text beside the photo: a question, or a beginning.

        Raises:
            InvalidType: ``text`` is none.
            InvalidArgument: the model reads no text.
        """
        taken("text", text, Text())
        if self.reads is None:
            raise InvalidArgument(
                f"`text` means nothing to this model, which reads none. {received(text)} Leave it out."
            )
        return replace(self, **self.reads(text))

    def __iter__(self) -> Iterator[Any]:
        """The model, its preprocessing and its labels."""
        return iter((self.model, self.preprocess, self.labels))
