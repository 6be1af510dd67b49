"""Captions and answers: what a model says about a photo, and what of the photo each word comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Unpack, overload

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, InvalidType, ModelError, received
from gradsight.explaining.asked import Methods
from gradsight.explaining.explain import SharedOptions, split_options
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.inputs import PhotoLike, is_photo
from gradsight.explaining.layer_choice import LayerLike, Layers
from gradsight.foreign import Array, Inputs
from gradsight.models.as_model import ModelLike, as_model
from gradsight.models.model import Model, Writing
from gradsight.results.explanation import Explanation
from gradsight.rules import Text, Whole
from gradsight.targets import OutputContext, ScoreSpec, Several, Sum, TargetLike, Token
from gradsight.variants import MethodLike

Explained = Explanation | tuple[Explanation, ...]
"""An explanation; a tuple of them where lists of methods or layers were given."""


@overload
def caption(
    photo: PhotoLike,
    *,
    model: ModelLike,
    text: str | None = ...,
    method: MethodLike | None = ...,
    layer: LayerLike | None = ...,
    **options: Unpack[SharedOptions],
) -> Explanation: ...


@overload
def caption(
    photo: PhotoLike,
    *,
    model: ModelLike,
    text: str | None = ...,
    method: Methods | None = ...,
    layer: Layers = ...,
    **options: Unpack[SharedOptions],
) -> Explained: ...


def caption(
    photo: PhotoLike,
    *,
    model: ModelLike,
    text: str | None = None,
    method: Methods | None = None,
    layer: Layers = None,
    **options: Unpack[SharedOptions],
) -> Explained:
    """Let a model write its caption of a photo, and explain every word of it.

    The caption is what the model writes greedily. It is fed back to it in one pass, and each word's map is of the logit
    of the word where the model wrote it, the sum over its tokens.

    Args:
        photo: a path, bytes, a PIL image, or an array (height, width, 3) of uint8, RGB.
        model: a model source such as ``"hf:Salesforce/blip-image-captioning-base"``, or what `load_model` gave.
        text: the beginning of the caption, whose words are the user's own and not explained.
        method: a method, or a list of them; Grad-CAM by default.
        layer: a layer's name or module, or a list of them; chosen by default.
        **options: keyword arguments of `load_model` and of `Explainer`, but ``targets`` and ``feed``.

    Returns:
        An `Explanation` whose targets are the words and whose ``written`` is the caption; for several methods or layers
        a tuple of them.

    Raises:
        InvalidArgument: the model writes no captions.
        ModelError: it wrote no word, or something that cannot be explained.
    """
    optional("text", text, Text())
    loaded, others = _loaded(photo, model, method, layer, options)
    if loaded.writing is None or loaded.writing.answers:
        raise _cannot("write captions", _WRITERS, loaded)
    # After the model is known to write captions: only such a model can begin with a text.
    if text is not None:
        loaded = loaded.about(text)
    return _explained(photo, loaded, others)


@overload
def ask(
    photo: PhotoLike,
    question: str,
    *,
    model: ModelLike,
    targets: TargetLike | None = ...,
    method: MethodLike | None = ...,
    layer: LayerLike | None = ...,
    **options: Unpack[SharedOptions],
) -> Explanation: ...


@overload
def ask(
    photo: PhotoLike,
    question: str,
    *,
    model: ModelLike,
    targets: TargetLike | None = ...,
    method: Methods | None = ...,
    layer: Layers = ...,
    **options: Unpack[SharedOptions],
) -> Explained: ...


def ask(
    photo: PhotoLike,
    question: str,
    *,
    model: ModelLike,
    targets: TargetLike | None = None,
    method: Methods | None = None,
    layer: Layers = None,
    **options: Unpack[SharedOptions],
) -> Explained:
    """Ask a model about a photo, and explain its answer.

    Where the model chooses from answers that it knows, ``targets`` are some of these, by default the best one. Where it
    writes the answer, each word of it is explained as in `caption`.

    Args:
        photo: a path, bytes, a PIL image, or an array (height, width, 3) of uint8, RGB.
        question: in the model's language.
        model: a model source such as ``"hf:dandelin/vilt-b32-finetuned-vqa"``, or what `load_model` gave: asked again,
            it is not loaded again.
        targets: answers that the model knows, where it chooses from some.
        method: a method, or a list of them; Grad-CAM by default.
        layer: a layer's name or module, or a list of them; chosen by default.
        **options: keyword arguments of `load_model` and of `Explainer`, but ``feed`` where the answer is written.

    Returns:
        An `Explanation` with its ``question`` and, where it is written, the answer as ``written``; for several methods
        or layers a tuple of them.

    Raises:
        InvalidArgument: the model answers no questions, or there is none.
        ModelError: it wrote no word, or something that cannot be explained.
    """
    taken("question", question, Text())
    loaded, others = _loaded(photo, model, method, layer, options)
    if targets is not None:
        others["targets"] = targets
    if loaded.reads is None or (loaded.writing is not None and not loaded.writing.answers):
        raise _cannot("answer questions", _ANSWERERS, loaded)
    # The same module with another question: it is not loaded again.
    loaded = loaded.about(question)
    if loaded.writing is not None:
        return _explained(photo, loaded, others, question)
    return _with(Explainer(loaded, **others)([photo]), question=question)  # type: ignore[arg-type]


_WRITERS = "those of transformers saved as BlipForConditionalGeneration or VisionEncoderDecoderModel (hf:NAME)"
_ANSWERERS = "those of transformers saved as ViltForQuestionAnswering or BlipForQuestionAnswering (hf:NAME)"


def _loaded(
    photo: PhotoLike, model: ModelLike, method: Methods | None, layer: Layers, options: Mapping[str, object]
) -> tuple[Model, dict[str, object]]:
    """The model, and the options that are left for `Explainer`."""
    if not is_photo(photo):
        raise InvalidType(
            "`photo` must be one photo: a path, bytes, a PIL image, or an array (height, width, 3) of uint8. "
            f"{received(photo)}"
        )
    loading, others = split_options(options, model)
    given = {"method": method, "layer": layer}
    others |= {name: value for name, value in given.items() if value is not None}
    loaded = as_model(model, **loading)
    # Whatever is no name was taken for a module; this cannot be one.
    if not callable(loaded.model):
        raise InvalidType(
            f"`model` must be the name of a model source, or a gs.Model. {received(model)} A model of your own goes in "
            "as gs.Model(model, preprocess, writing=gs.Writing(...))."
        )
    # The name goes into the model itself, since the errors name it.
    name = optional("name", others.pop("name", None), Text())
    return loaded.told(name=name), others


def _cannot(what: str, which: str, loaded: Model) -> InvalidArgument:
    name = repr(loaded.name) if loaded.name else type(loaded.model).__name__
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


def _taken(name: str, value: object) -> InvalidArgument:
    return InvalidArgument(
        f"`{name}` cannot be given where a model writes: every word of what it wrote is explained. {received(value)} "
        "Leave it out (--top too), or use gs.Explainer with gs.Token(...)."
    )


def _explained(photo: PhotoLike, loaded: Model, options: dict[str, object], question: str = "") -> Explained:
    for name in ("feed", "targets"):
        if name in options:
            raise _taken(name, options[name])
    assert loaded.writing is not None
    told = _Told(loaded.writing)
    # Its class scores are those of the word after the text: nothing that it predicts of the photo.
    scores = None if loaded.scores is None else replace(loaded.scores, activation="")
    fed = replace(loaded, scores=scores, feed=told.feed)
    explainer = Explainer(fed, **options)  # type: ignore[arg-type]
    return _with(explainer([photo], targets=told), question=question, written=(told.text,))


def _with(found: Explained, *, question: str, written: tuple[str, ...] = ()) -> Explained:
    """Explanations with what was asked and written."""
    if isinstance(found, Explanation):
        return replace(found, question=question, written=written)
    return tuple(replace(each, question=question, written=written) for each in found)


class _Told:
    """What a model writes of one photo: it is fed back, and each of its words is a target.

    Attributes:
        text: what it wrote, once `feed` was called.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self.text = ""
        self._target: Several | None = None

    def feed(self, images: NDArray[np.float32]) -> Inputs:
        """`Explainer`'s ``feed``: let the model write, and give it what it wrote beside the photo."""
        tokens = _tokens(self._writing.write(images))
        words = _words(self._writing.words(tokens), len(tokens))
        read: Callable[[NDArray[np.int64]], str] = self._writing.text or (lambda _: " ".join(word for word, _ in words))
        self.text = read(tokens)
        # Of a token the place before it tells, counted from the end, since an output may begin with other places.
        self._target = Several(
            *(
                Sum(*(Token(int(tokens[place]), at=place - len(tokens)) for place in places), name=word)
                for word, places in words
                if places
            )
        )
        # Without the last token: after it nothing is predicted.
        return self._writing.feed(images, tokens[None, :-1])

    def resolved(self, setting: OutputContext) -> ScoreSpec:
        """See `targets.resolve`."""
        assert self._target is not None
        return self._target.resolved(setting)


def _tokens(written: Array) -> NDArray[np.int64]:
    tokens = np.asarray(written)
    # `write` is the user's, and the next errors would come from deep inside of the model.
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or len(tokens) < 2:
        raise InvalidType(
            "`write` of Writing must give the tokens of a text, whole numbers of shape (length,), with the one that it "
            f"begins with and one more at least. {received(tokens)}"
        )
    return tokens.astype(np.int64)


def _words(told: Sequence[tuple[str, Sequence[int]]], length: int) -> Sequence[tuple[str, tuple[int, ...]]]:
    words = [(word, tuple(places)) for word, places in told]
    for word, places in words:
        if not isinstance(word, str) or not all(Whole(1, length - 1).read(x) is not None for x in places):
            raise InvalidType(
                f"`words` of Writing must give words with places from 1 to {length - 1} among the tokens: the first is "
                f"what the model was given. {received((word, places))}"
            )
    # Such as a caption of marks alone; there would be no target.
    if not any(places for _, places in words):
        raise ModelError("the model wrote no word about the photo, so there is nothing to explain.")
    return words
