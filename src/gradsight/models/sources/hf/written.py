"""What models of transformers write: tokens, by their own ``generate``, and the words that the tokens make."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import ModelError, one_line
from gradsight.foreign import Array, Module
from gradsight.models.sources.hf.theirs import Tokenizer

_MOST = 20
"""How many tokens transformers lets a model write that says nothing about it."""


def write(model: Module, images: Array, feed: Callable[[Array], dict[str, Array]], begun: int = 1) -> NDArray[np.int64]:
    """What the model's own ``generate`` writes greedily about a photo.

    Args:
        model: in transformers' own form.
        images: a batch of one, NumPy.
        feed: from that to the arguments of ``generate``.
        begun: how many tokens the text begins with.

    Returns:
        The tokens of the text, its beginning included, (length,).

    Raises:
        ModelError: it failed.
    """
    import torch
    import transformers

    from gradsight.models.sources.hf.modules import evaluating
    from gradsight.models.sources.hf.quiet import quiet

    like = next(model.parameters())
    # generate takes no NumPy, and the model may have been moved since it was loaded
    given = {key: torch.as_tensor(value, device=like.device) for key, value in feed(images).items()}
    given = {key: x.to(like.dtype) if x.is_floating_point() else x for key, x in given.items()}
    most = _most(model, begun)
    try:
        with quiet(transformers), torch.no_grad(), evaluating(model):
            found = model.generate(**given, num_beams=1, do_sample=False, max_new_tokens=most)
    except Exception as error:
        raise ModelError(f"the model failed to write: {type(error).__name__}: {one_line(error)}") from error
    tokens: NDArray[np.int64] = found[0].cpu().numpy()
    return tokens


def _most(model: Module, begun: int) -> int:
    """How many tokens it may write: as many as its own settings say, and as it has positions for."""
    decoder: Module = getattr(model, "text_decoder", model)
    config = getattr(decoder.config, "decoder", decoder.config)
    own = decoder.generation_config
    # its own settings first: a model that was trained on long captions says so there
    most = own.max_new_tokens or (own.max_length - begun if own.max_length else _MOST)
    positions = getattr(config, "max_position_embeddings", None) or begun + most
    return max(1, min(most, positions - begun))


def text_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    """The text as people read it."""
    text: str = tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)
    return " ".join(text.split())


def words_of(tokenizer: Tokenizer, tokens: Sequence[int], given: int = 0) -> list[tuple[str, tuple[int, ...]]]:
    """The words of a text without marks such as its start and end, and without the punctuation around them.

    Args:
        tokenizer: the model's.
        tokens: of the whole text.
        given: how many of the first ones the model did not write: they are no words, though a word may begin in them.

    Returns:
        Of each word its text, and the places of its tokens. Where nothing but punctuation was written, that.
    """
    chunks = _chunks(_pieces(tokenizer, [int(token) for token in tokens]))
    words = [_word(_trimmed(chunk), given) for chunk in chunks]
    return [x for x in words if x[1]] or [x for x in (_word(chunk, given) for chunk in chunks) if x[1]]


Piece = tuple[str, tuple[int, ...]]
"""What some tokens add to a text, and their places."""


def _pieces(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[Piece]:
    special = set(tokenizer.all_special_ids)
    pieces: list[Piece] = []
    before, waiting = "", tuple[int, ...]()
    for place, token in enumerate(tokens):
        if token in special:
            continue
        waiting = (*waiting, place)
        text = tokenizer.decode(tokens[: place + 1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):  # the bytes of a letter are not all there yet
            continue
        # decoders that tidy up may change what went before: what is new begins at the first difference
        same = next((i for i, pair in enumerate(zip(before, text, strict=False)) if pair[0] != pair[1]), len(before))
        if text[same:]:  # a mark that the tokenizer does not know, as BLIP's start, adds nothing
            pieces.append((text[same:], waiting))
        before, waiting = text, ()
    return pieces


def _chunks(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces between spaces."""
    chunks: list[list[Piece]] = []
    apart = True
    for text, places in pieces:
        if apart or text[:1].isspace():
            chunks.append([])
        chunks[-1].append((text.strip(), places))
        apart = text[-1:].isspace()
    return chunks


def _trimmed(chunk: Sequence[Piece]) -> Sequence[Piece]:
    letters = [i for i, (text, _) in enumerate(chunk) if any(letter.isalnum() for letter in text)]
    return chunk[letters[0] : letters[-1] + 1] if letters else []


def _word(chunk: Sequence[Piece], given: int) -> Piece:
    return "".join(text for text, _ in chunk), tuple(i for _, places in chunk for i in places if i >= given)
