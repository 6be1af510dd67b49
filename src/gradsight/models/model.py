"""A model with all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Module
from gradsight.rules import Flag, Function, Instance, Text
from gradsight.targets import Labels, as_labels
from gradsight.targets.scores import Scores


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
class Model:
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

    model: Module
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
        return replace(self, **self.reads(text))

    def __iter__(self) -> Iterator[Any]:
        """The model, its preprocessing and its labels."""
        return iter((self.model, self.preprocess, self.labels))
