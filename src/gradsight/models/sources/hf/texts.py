"""Models that read a text beside a photo, a question or the beginning of a caption, and those that write one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Array, Module, Outputs
from gradsight.models.model import Model, Writing
from gradsight.models.sources.hf.loading import Loading, class_names
from gradsight.models.sources.hf.theirs import Config, Tokenizer
from gradsight.models.sources.hf.written import text_of, words_of, write
from gradsight.targets.scores import Scores

Fields = Mapping[str, Any]
"""Fields of a `Model` that a text changes."""

Feed = Callable[[Array], dict[str, Array]]


def answers(loading: Loading) -> Model:
    """ViLT: an answer is one class of many, each with a probability of its own."""
    from gradsight.models.sources.hf.modules import in_order

    reads = partial(_asked, tokenizer=loading.tokenizer(), most=_positions(loading.config))
    scores = Scores(_logits, "sigmoid")
    names = class_names(loading.config)
    return Model(in_order(loading.model), labels=names, scores=scores, reads=reads, **_first(loading, reads))


def written_answer(loading: Loading) -> Model:
    """BLIP: an answer is written word by word."""
    from gradsight.models.sources.hf.modules import Answering

    tokenizer = loading.tokenizer()
    most = _positions(loading.config)
    reads = partial(_asked_to_write, tokenizer=tokenizer, model=loading.model, most=most)
    model, scores = Answering(loading.model).eval(), Scores(_last_logits)
    return Model(model, labels=_words(tokenizer, loading.config), scores=scores, reads=reads, **_first(loading, reads))


def caption(loading: Loading) -> Model:
    """BLIP: its text decoder reads the caption so far."""
    text = loading.config.text_config
    # its generate sets the start into the first place, and takes off the last one, where its tokenizer sets an end
    return _captioner(loading, "input_ids", text.bos_token_id, (text.sep_token_id or 0,))


def decoded_caption(loading: Loading) -> Model:
    """An encoder of pictures with a decoder of texts."""
    config, own = loading.config, getattr(loading.model, "generation_config", None)
    given = [getattr(x, "decoder_start_token_id", None) for x in (own, config)]
    start = next((x for x in (*given, config.decoder.bos_token_id) if x is not None), 0)
    return _captioner(loading, "decoder_input_ids", start, ())


def _captioner(loading: Loading, key: str, start: int, end: tuple[int, ...]) -> Model:
    tokenizer = loading.tokenizer()
    reads = partial(_begun, tokenizer=tokenizer, model=loading.model, key=key, start=start, end=end)
    fields = reads(loading.text or "")
    return Model(
        loading.model, labels=_words(tokenizer, loading.config), scores=Scores(_last_logits), reads=reads, **fields
    )


def _first(loading: Loading, reads: Callable[[str], Fields]) -> Fields:
    """What the question makes of the model; without one it can still be asked."""
    return reads(loading.text) if loading.text else {"feed": partial(_not_asked, name=loading.name)}


def _not_asked(_: Array, name: str) -> NoReturn:
    raise InvalidArgument(
        f"text must be given: hf model {name!r} answers questions. Received: none. Ask it, gradsight ask PHOTO 'What "
        "is on the table?' (gs.ask in Python), or give --text 'What is on the table?' (text=... in Python)."
    )


def _asked(text: str, tokenizer: Tokenizer, most: int | None) -> Fields:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {"feed": partial(_fed, beside=_question(text, tokenizer, names, most))}


def _asked_to_write(text: str, tokenizer: Tokenizer, model: Module, most: int | None) -> Fields:
    # BLIP takes no token types, though its tokenizer gives them
    feed = partial(_fed, beside=_question(text, tokenizer, ("input_ids", "attention_mask"), most))
    writing = Writing(
        partial(write, model, feed=feed),
        partial(_fed_back, feed=feed, key="decoder_input_ids"),
        partial(words_of, tokenizer, given=1),
        partial(text_of, tokenizer),
        answers=True,
    )
    return {"feed": feed, "writing": writing}


def _begun(text: str, tokenizer: Tokenizer, model: Module, key: str, start: int, end: tuple[int, ...]) -> Fields:
    begun = [start, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    _check_length(text, len(begun) + 1, _positions(model.config))  # and one that it writes
    feed, prompt = (partial(_fed, beside={key: np.array([x], dtype=np.int64)}) for x in (begun, [*begun, *end]))
    writing = Writing(
        partial(write, model, feed=prompt, begun=len(begun)),
        partial(_fed_back, feed=feed, key=key),
        partial(words_of, tokenizer, given=len(begun)),
        partial(text_of, tokenizer),
    )
    return {"feed": feed, "writing": writing}


def _question(text: str, tokenizer: Tokenizer, names: Sequence[str], most: int | None) -> dict[str, Array]:
    """The tokens of the question, and what else of that name goes with them, one row each.

    Raises:
        InvalidArgument: there is none, or it has more than ``most`` tokens.
    """
    if not text.strip():
        raise InvalidArgument(f"the question must not be empty. {received(text)} Ask 'What is on the table?'.")
    # verbose, it would log a warning of its own beside our error
    tokens = tokenizer([text], return_tensors="np", verbose=False)
    _check_length(text, tokens["input_ids"].shape[1], most)
    return {name: tokens[name] for name in names if name in tokens}


def _positions(config: Config) -> int | None:
    """How many tokens its texts may have; None where that is not said."""
    return getattr(_text_config(config), "max_position_embeddings", None)


def _text_config(config: Config) -> Config:
    """The configuration of what reads and writes texts."""
    inside = (getattr(config, name, None) for name in ("text_config", "decoder"))
    return next((x for x in inside if x is not None), config)


def _check_length(text: str, count: int, most: int | None) -> None:
    if most is not None and count > most:
        raise InvalidArgument(
            f"the text is too long for this model: with its marks it has {count} tokens, and {most} are possible. "
            f"{received(text)} Give a shorter one."
        )


def _fed(images: Array, beside: dict[str, Array]) -> dict[str, Array]:
    """A batch of photos, and beside each the same text."""
    return {"pixel_values": images, **{key: np.repeat(x, len(images), axis=0) for key, x in beside.items()}}


def _fed_back(images: Array, tokens: Array, feed: Feed, key: str) -> dict[str, Array]:
    """A batch of photos, and beside each what the model wrote."""
    return {**feed(images), key: tokens}


def _words(tokenizer: Tokenizer, config: Config) -> tuple[str, ...]:
    """What each token writes, for people; the model may score more or fewer than its tokenizer has."""
    known = len(tokenizer)
    count = getattr(_text_config(config), "vocab_size", None) or known
    tokens = tokenizer.convert_ids_to_tokens(list(range(min(count, known))))
    words = [tokenizer.convert_tokens_to_string([token]).strip() or token for token in tokens]
    return (*words, *(f"token {index}" for index in range(known, count)))


def _logits(outputs: Outputs) -> Array:
    return outputs.logits


def _last_logits(outputs: Outputs) -> Array:
    return outputs.logits[:, -1]
