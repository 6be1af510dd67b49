"""Models that compare pictures with texts: CLIP, SigLIP and their kin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gradsight.foreign import Array, Module, Outputs
from gradsight.models.model import Model
from gradsight.models.sources.hf.loading import Loading
from gradsight.models.sources.hf.theirs import Tokenizer
from gradsight.targets.scores import Scores

if TYPE_CHECKING:
    from torch import nn


def comparison(loading: Loading) -> Model:
    """The model with the texts that it compares pictures with, if there are some; else it gives embeddings alone."""
    from gradsight.models.sources.hf.modules import Compared, Embedding

    sigmoid = loading.config.model_type.startswith("siglip")
    # SigLIP was trained on texts that are filled up to one length, and does not mask what fills them
    tokens = partial(_tokens, loading.tokenizer(), padding="max_length" if sigmoid else True)
    # the texts are the classes: they stay, so that the model takes nothing but pictures
    if loading.labels:
        model: nn.Module = Compared(loading.model, tokens(list(loading.labels)))
        scores = Scores(_logits_per_image, "sigmoid" if sigmoid else "softmax")
    else:
        model, scores = Embedding(loading.model), Scores(_image_embeds, "", _without_labels(loading.name))
    return Model(
        model.eval(),
        labels=tuple(loading.labels) if loading.labels else None,
        scores=scores,
        embedding=_image_embeds,
        embed_text=partial(_embed_text, loading.model, tokens),
    )


def _without_labels(name: str) -> str:
    return (
        f"labels must be given: hf model {name!r} compares a picture with texts, and these are the texts. Received: "
        "none. Give --labels FILE with a text a line (labels=['a photo of a cat', ...] in Python), or compare with one "
        "text or picture: --like TEXT_OR_FILE (targets=gs.Similarity(text='a photo of a cat'))."
    )


def _tokens(tokenizer: Tokenizer, texts: list[str], padding: bool | str) -> dict[str, Array]:
    tokens = tokenizer(texts, padding=padding, truncation=True, return_tensors="pt")
    return {key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens}


def _embed_text(model: Module, tokens: Callable[[list[str]], dict[str, Array]], text: str) -> Array:
    """The model's own embedding of a text, (1, d)."""
    import torch

    from gradsight.models.sources.hf.modules import evaluating

    device = next(model.parameters()).device
    with torch.no_grad(), evaluating(model):
        found = model.get_text_features(**{key: value.to(device) for key, value in tokens([text]).items()})
    return getattr(found, "pooler_output", found)


def _logits_per_image(outputs: Outputs) -> Array:
    return outputs.logits_per_image


def _image_embeds(outputs: Outputs) -> Array:
    return outputs["image_embeds"]
