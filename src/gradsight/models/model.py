"""A model with all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received, unknown
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.imaging import Placement, Preprocess
from gradsight.rules import Flag, Function, Instance, Text
from gradsight.targets import Labels, as_labels
from gradsight.targets.scores import Scores

if TYPE_CHECKING:
    from gradsight.models.spec import ModelSpec


@runtime_checkable
class PlacesPhotos(Protocol):
    """Whatever makes a photo the model's input and knows the way back, as a `Preprocess` does."""

    def place(self, image: Image.Image, /) -> tuple[NDArray[np.float32], Placement]:
        """The model's input, without a batch axis, and where it lies on the photo."""


PreprocessLike = Preprocess | PlacesPhotos | Callable[..., Array]
"""What users give for it: one of ours, an object with ``place``, or any function of a photo."""


class _MoreAbout(TypedDict, total=False):
    """How a model is read and fed, and what it is called."""

    feed: Callable[[Array], Inputs] | None
    detections: Callable[[Outputs], Outputs] | None
    embedding: Callable[[Outputs], Array] | None
    embed_text: Callable[[str], Array] | None
    name: str | None
    probabilities: bool | None


class _Rest(_MoreAbout, total=False):
    """What is known of a model that came from a source, too."""

    left_out: str
    spec: ModelSpec | None


class About(_MoreAbout, total=False):
    """What can be said of a model beside the module itself: fields of `Model`. None leaves what is known."""

    preprocess: PreprocessLike | None
    labels: Labels | None
    scores: Scores | Callable[[Outputs], Array] | None


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

    write: Callable[[NDArray[np.float32]], Array]
    feed: Callable[[NDArray[np.float32], NDArray[np.int64]], Inputs]
    words: Callable[[NDArray[np.int64]], Sequence[tuple[str, Sequence[int]]]]
    text: Callable[[NDArray[np.int64]], str] | None = None
    answers: bool = False

    def __post_init__(self) -> None:
        for name in ("write", "feed", "words"):
            taken(f"`{name}` of Writing", getattr(self, name), Function())
        optional("`text` of Writing", self.text, Function())
        taken("`answers` of Writing", self.answers, Flag())


@dataclass(frozen=True, repr=False)
class Model:
    """A model with all that is known of it: what `load_model` gives, and what everything that explains takes.

    A module of your own goes in as ``gs.Model(module, preprocess=..., labels=...)``, and unpacks as what `load_model`
    gives does: ``module, preprocess, labels = gs.load_model("demo")``.

    >>> from gradsight import Model
    >>> Model(abs, labels=["cat", "dog"], name="mine").labels
    ('cat', 'dog')

    Attributes:
        model: the module, in evaluation mode.
        preprocess: turns a photo into the model's input. A `Preprocess`, which is laid out as the model's images are;
            an object with its method ``place``; or any function of a photo, such as a ``Compose`` of torchvision's or
            ``weights.transforms()``: where it puts pixels is found out by `Explainer`, by trying it on test pictures. A
            bare module without one gets what it carries (timm, transformers, Keras), else ImageNet's, told by a note.
        labels: the class names, one for each score: a list, an array, an index or a column of a table, or a dict of
            index to name (``id2label``) or of name to index (``class_to_idx``); kept as a tuple of texts. With two of
            them, a model that gives one score is one of two classes: a high score speaks for the second, and its
            negation for the first.
        scores: where the model gives no row of class scores, or several, a function from its output to one,
            (n, classes), or a `Scores` that also says how they become probabilities (a softmax, if not said).
        feed: where the model takes more than the photo, a function from the batch that ``preprocess`` makes of photos,
            (n, channels, height, width), to the model's inputs: ``lambda x: {"pixel_values": x, "input_ids": ids}``.
        detections: for `Box`, a function from the output to scores (n, q, classes), best before a softmax or sigmoid,
            and boxes (n, q, 4), each (left, top, right, bottom) in pixels of the model's input, or (n, q, classes, 4);
            those of DETR, of torchvision and of YOLO are known.
        embedding: for `Similarity`, a function from the output to embeddings (n, d), where it is not the output itself.
        embed_text: for `Similarity`, a function from a text to its embedding, (1, d).
        reads: where the model reads a text beside the photo, a question or the beginning of a caption: from that to the
            fields that it changes, such as ``{"feed": ...}``. With it the model is asked again without being loaded.
        writing: how it writes texts; None where it writes none.
        left_out: the activation at its end that was left out in loading, such as ``"softmax"``; empty if none.
        name: what to call it; empty for the name of its class.
        probabilities: explain what a Keras model gives, its last softmax or sigmoid included, whose gradients
            saturate; without it, scores are the logits before that.
        spec: what `load_model` was asked for, where that says all of it: it is then loaded again by ``spec.load()``.

    Raises:
        InvalidArgument: the labels lack an index.
        InvalidType: a field is none of these.
    """

    model: Module
    preprocess: PreprocessLike | None = None
    labels: tuple[str, ...] | None = None
    scores: Scores | None = None
    feed: Callable[[Array], Inputs] | None = None
    detections: Callable[[Outputs], Outputs] | None = None
    embedding: Callable[[Outputs], Array] | None = None
    embed_text: Callable[[str], Array] | None = None
    reads: Callable[[str], Mapping[str, object]] | None = None
    writing: Writing | None = None
    left_out: str = ""
    name: str = ""
    probabilities: bool = False
    spec: ModelSpec | None = None

    if TYPE_CHECKING:  # what is given, where it is wider than what is kept

        def __init__(
            self,
            model: Module,
            preprocess: PreprocessLike | None = ...,
            labels: Labels | None = ...,
            scores: Scores | Callable[[Outputs], Array] | None = ...,
            *,
            reads: Callable[[str], Mapping[str, object]] | None = ...,
            writing: Writing | None = ...,
            **about: Unpack[_Rest],
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", as_labels(self.labels))
        # An object with `place` need not be callable.
        if not isinstance(self.preprocess, PlacesPhotos):
            optional("preprocess", self.preprocess, Function("a gs.Preprocess or a function of a photo"))
        for name, way in _FUNCTIONS.items():
            optional(name, getattr(self, name), Function(f"a function from {way}"))
        if self.scores is not None and not isinstance(self.scores, Scores):
            function = taken("scores", self.scores, Function("a gs.Scores, or a function outputs -> (n, classes)"))
            object.__setattr__(self, "scores", Scores(function))
        optional("writing", self.writing, Instance(Writing, "a gs.Writing"))
        taken("left_out", self.left_out, Text())
        taken("name", self.name, Text())
        object.__setattr__(self, "probabilities", taken("probabilities", self.probabilities, Flag()))

    def about(self, text: str) -> Model:
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
        spec = None if self.spec is None else replace(self.spec, text=text)
        return replace(self, spec=spec, **self.reads(text))  # type: ignore[arg-type]

    def told(self, **about: Unpack[About]) -> Model:
        """The same model with more said of it, in place of what was known; None leaves that.

        >>> from gradsight import Model
        >>> Model(abs, name="mine").told(labels=["cat", "dog"]).name
        'mine'

        Raises:
            UnknownName: there is nothing of that name to be said.
            InvalidArgument, InvalidType: see `Model`.
        """
        for name in about:
            if name not in ABOUT:
                raise unknown("argument", name, ABOUT, "These are what can be said of a model.")
        # What is so already is not news: a spec that says all of the model still does.
        said = {name: value for name, value in about.items() if value is not None and value is not getattr(self, name)}
        if not said:
            return self
        spec = None if self.spec is None else self.spec.told(said)
        return replace(self, **{**said, "spec": spec})  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[object]:
        """The module, its preprocessing and its labels."""
        # These three alone, as most people need them: ``module, preprocess, labels = gs.load_model(...)``.
        return iter((self.model, self.preprocess, self.labels))

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        parts = [kind if self.name in ("", kind) else f"{self.name!r}, class {kind}"]
        if isinstance(self.preprocess, Preprocess) and self.preprocess.fit != "none":
            height, width = self.preprocess.size
            parts.append(f"photos of {height} x {width}")
        if self.labels is not None:
            parts.append(f"{len(self.labels)} labels")
        others = (field.name for field in fields(self) if field.name in _TOLD and getattr(self, field.name) is not None)
        return f"Model({', '.join([*parts, *others])})"


ABOUT = tuple(About.__annotations__)
"""The names of what can be said of a model."""

_FUNCTIONS = {
    "feed": "a batch of photos to the model's inputs",
    "detections": "the output to scores (n, q, classes) and boxes (n, q, 4)",
    "embedding": "the output to embeddings (n, d)",
    "embed_text": "a text to its embedding, (1, d)",
    "reads": "a text to the fields of gs.Model that it changes",
}
"""The fields that are functions, and from what to what."""

_TOLD = ("scores", "feed", "detections", "embedding", "embed_text", "reads", "writing")
"""The fields whose presence ``repr`` tells."""
