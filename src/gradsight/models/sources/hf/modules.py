"""Modules around models of transformers whose own forward does not take a photo, or does not give scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType

import torch
from torch import nn

from gradsight.foreign import Module, Outputs


class Compared(nn.Module):
    """A model that compares pictures with texts, with texts that stay: what it takes is pictures."""

    def __init__(self, model: nn.Module, texts: dict[str, torch.Tensor]) -> None:
        """Keep the model, and the tokens of the texts by the names of the model's arguments."""
        super().__init__()
        self.model = model
        self.names = tuple(texts)
        for name, tokens in texts.items():
            self.register_buffer(name, tokens, persistent=False)

    def forward(self, pixel_values: torch.Tensor) -> Outputs:
        """The model's output for pictures (n, channels, height, width); its ``logits_per_image`` are (n, texts)."""
        return self.model(pixel_values=pixel_values, **{name: getattr(self, name) for name in self.names})


class Embedding(nn.Module):
    """The side of such a model that looks at pictures."""

    def __init__(self, model: nn.Module) -> None:
        """Keep the model."""
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """``image_embeds`` of pictures (n, channels, height, width): (n, d), as texts are compared with."""
        model: Module = self.model
        found = model.get_image_features(pixel_values=pixel_values)
        return {"image_embeds": found if isinstance(found, torch.Tensor) else found.pooler_output}


class Answering(nn.Module):
    """BLIP's question answering with the answer so far, which its decoder goes on from.

    The model's own forward wants the answer, gives its loss, and keeps the logits to itself; what is run here is what
    its ``generate`` runs.
    """

    def __init__(self, model: nn.Module) -> None:
        """Keep a ``BlipForQuestionAnswering``."""
        super().__init__()
        self.model = model

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.Tensor | None = None,
    ) -> Outputs:
        """The decoder's output; its ``logits`` are (n, length, words), what comes after each token of the answer.

        Args:
            pixel_values: pictures (n, channels, height, width).
            input_ids: the questions' tokens.
            attention_mask: which of them count.
            decoder_input_ids: the answer so far, (n, length), from its start on; the start alone if not given.
        """
        model: Module = self.model
        image = model.vision_model(pixel_values=pixel_values).last_hidden_state
        seen = torch.ones(image.shape[:-1], dtype=torch.long, device=image.device)
        question = model.text_encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=image,
            encoder_attention_mask=seen,
        )[0]
        if decoder_input_ids is None:
            decoder_input_ids = torch.full_like(input_ids[:, :1], model.decoder_start_token_id)
        return model.text_decoder(
            input_ids=decoder_input_ids,
            encoder_hidden_states=question,
            encoder_attention_mask=torch.ones(question.shape[:-1], dtype=torch.long, device=question.device),
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Let a model run in evaluation mode, and leave each of its modules in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def in_order(model: Module) -> Module:
    """Let ViLT keep its patches in the order of the picture.

    It draws the patches that it looks at, all of them if there are no more than it may, and so shuffles them. To the
    answer that is all the same, since each carries its position along; a map would be shuffled too.

    Args:
        model: a model of ViLT, which is changed.
    """
    embeddings = model.vilt.embeddings
    embeddings.visual_embed = MethodType(_sorted_patches, embeddings)
    return model


def _sorted_patches(
    embeddings: Module, *arguments: object, **keywords: object
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, Sequence[int]]]:
    tokens, mask, (places, grid) = type(embeddings).visual_embed(embeddings, *arguments, **keywords)
    order = (places[..., 0] * grid[1] + places[..., 1]).argsort(dim=1)
    class_first = torch.cat([torch.zeros_like(order[:, :1]), order + 1], dim=1)
    rows = torch.arange(len(order), device=order.device)[:, None]
    return tokens[rows, class_first], mask[rows, class_first], (places[rows, order], grid)
