"""Captions and answers: what a model says about a photo, and what of the photo each word comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, InvalidType, ModelError, received
from gradsight.explaining.explainer import Explainer
from gradsight.foreign import Module
from gradsight.models.load import load_model
from gradsight.models.model import Model, Writing
from gradsight.results.explanation import Explanation
from gradsight.rules import Instance, Name, Text, Whole
from gradsight.targets import OutputContext, ScoreSpec, Several, Sum, Token


def caption(photo: Any, *, model: Module, text: str | None = None, **options: Any) -> Any:
    """Let a model write its caption of a photo, and explain every word of it.

    The caption is what the model writes greedily. It is fed back to it in one pass, and each word's map is of the logit
    of the word where the model wrote it, the sum over its tokens.

    Args:
        photo: a path, bytes or a PIL image.
        model: a model source such as ``"hf:Salesforce/blip-image-captioning-base"``, or what `load_model` gave.
        text: the beginning of the caption, whose words are the user's own and not explained.
        **options: keyword arguments of `Explainer`, but ``targets`` and ``feed``.

    Returns:
        An `Explanation` whose targets are the words and whose ``written`` is the caption; for several methods or layers
        a tuple of them.

    Raises:
        InvalidArgument: the model writes no captions.
        ModelError: it wrote no word, or something that cannot be explained.
    """
    optional("text", text, Text())
    loaded, options = _loaded(photo, model, options)
    writing = loaded.writing
    if writing is None or writing.answers:
        raise _cannot("write captions", _WRITERS, options.get("name"), loaded)
    if text is not None:
        loaded = loaded.about(text)
    return _explained(photo, loaded, options)


def ask(photo: Any, question: str, *, model: Module, **options: Any) -> Any:
    """Ask a model about a photo, and explain its answer.

    Where the model chooses from answers that it knows, ``targets`` are some of these, by default the best one. Where it
    writes the answer, each word of it is explained as in `caption`.

    Args:
        photo: a path, bytes or a PIL image.
        question: in the model's language.
        model: a model source such as ``"hf:dandelin/vilt-b32-finetuned-vqa"``, or what `load_model` gave: asked again,
            it is not loaded again.
        **options: keyword arguments of `Explainer`, but ``targets`` and ``feed`` where the answer is written.

    Returns:
        An `Explanation` with its ``question`` and, where it is written, the answer as ``written``; for several methods
        or layers a tuple of them.

    Raises:
        InvalidArgument: the model answers no questions, or there is none.
        ModelError: it wrote no word, or something that cannot be explained.
    """
    taken("question", question, Text())
    loaded, options = _loaded(photo, model, options)
    if loaded.reads is None or (loaded.writing is not None and not loaded.writing.answers):
        raise _cannot("answer questions", _ANSWERERS, options.get("name"), loaded)
    loaded = loaded.about(question)
    if loaded.writing is not None:
        return _explained(photo, loaded, options, question)
    return _with(Explainer(loaded, **options)([photo]), question=question)


_OWN_MODEL = "A model of your own goes in as gs.Model(model, preprocess, writing=gs.Writing(...))."
_WRITERS = "those of transformers saved as BlipForConditionalGeneration or VisionEncoderDecoderModel (hf:NAME)"
_ANSWERERS = "those of transformers saved as ViltForQuestionAnswering or BlipForQuestionAnswering (hf:NAME)"


def _loaded(photo: Any, model: Module, options: dict[str, Any]) -> tuple[Model, dict[str, Any]]:
    taken("photo", photo, Instance((str, Path, bytes, Image.Image), "one photo: a path, bytes or a PIL image"))
    if isinstance(model, Model):
        return model, options
    name = taken("model", model, Name("the name of a model source, or a gs.Model"), _OWN_MODEL)
    return load_model(name), {"name": name, **options}


def _cannot(what: str, which: str, name: str | None, loaded: Model) -> InvalidArgument:
    name = repr(name) if name else type(loaded.model).__name__
    return InvalidArgument(
        f"`model` must {what}. Received: {name}, which {_does(loaded)}. What does: {which}, and a gs.Model of "
        f"yours with `{'reads' if which is _ANSWERERS else 'writing'}=`."
    )


def _does(loaded: Model) -> str:
    """What a model does instead, and how that is explained."""
    if loaded.writing is not None and not loaded.writing.answers:
        return "writes captions (gradsight caption, gs.caption)"
    if loaded.reads is not None:
        return "answers questions (gradsight ask, gs.ask)"
    if loaded.embed_text is not None:
        return "compares pictures with texts (gradsight similar, gs.Similarity)"
    scores = f"scores of {len(loaded.labels)} classes" if loaded.labels else "scores"
    return f"gives {scores} (gradsight explain, gs.explain)"


def _taken(name: str, value: Any) -> InvalidArgument:
    return InvalidArgument(
        f"`{name}` cannot be given where a model writes: every word of what it wrote is explained. {received(value)} "
        "Leave it out (--top too), or use gs.Explainer with gs.Token(...)."
    )


def _explained(photo: Any, loaded: Model, options: dict[str, Any], question: str = "") -> Any:
    for name in ("feed", "targets"):
        if name in options:
            raise _taken(name, options[name])
    assert loaded.writing is not None
    told = _Told(loaded.writing)
    # Its class scores are those of the word after the text: nothing that it predicts of the photo.
    scores = None if loaded.scores is None else replace(loaded.scores, activation="")
    explainer = Explainer(replace(loaded, scores=scores, feed=told.feed), **options)
    return _with(explainer([photo], targets=told), question=question, written=(told.text,))


def _with(found: Any, **fields: Any) -> Any:
    if isinstance(found, Explanation):
        return replace(found, **fields)
    return tuple(replace(each, **fields) for each in found)


class _Told:
    """What a model writes of one photo: it is fed back, and each of its words is a target.

    Attributes:
        text: what it wrote, once `feed` was called.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self.text = ""
        self._target: Several | None = None

    def feed(self, images: Any) -> Any:
        """`Explainer`'s ``feed``: let the model write, and give it what it wrote beside the photo."""
        tokens = _tokens(self._writing.write(images))
        words = _words(self._writing.words(tokens), len(tokens))
        read: Callable[[Any], str] = self._writing.text or (lambda _: " ".join(word for word, _ in words))
        self.text = read(tokens)
        # Of a token the place before it tells, counted from the end, since an output may begin with other places.
        self._target = Several(
            *(
                Sum(*(Token(int(tokens[place]), at=place - len(tokens)) for place in places), name=word)
                for word, places in words
                if places
            )
        )
        return self._writing.feed(images, tokens[None, :-1])

    def resolved(self, setting: OutputContext) -> ScoreSpec:
        """See `targets.resolve`."""
        assert self._target is not None
        return self._target.resolved(setting)


def _tokens(given: Any) -> NDArray[np.int64]:
    tokens = np.asarray(given)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or len(tokens) < 2:
        raise InvalidType(
            "`write` of Writing must give the tokens of a text, whole numbers of shape (length,), with the one that it "
            f"begins with and one more at least. {received(tokens)}"
        )
    return tokens.astype(np.int64)


def _words(given: Any, length: int) -> Sequence[tuple[str, tuple[int, ...]]]:
    words = [(word, tuple(places)) for word, places in given]
    for word, places in words:
        if not isinstance(word, str) or not all(Whole(1, length - 1).read(x) is not None for x in places):
            raise InvalidType(
                f"`words` of Writing must give words with places from 1 to {length - 1} among the tokens: the first is "
                f"what the model was given. {received((word, places))}"
            )
    if not any(places for _, places in words):
        raise ModelError("the model wrote no word about the photo, so there is nothing to explain.")
    return words
