"""Models of transformers in small, with seeded random weights, their processors and tokenizers; nothing is fetched."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers

logging.getLogger("transformers").setLevel(logging.ERROR)  # what small configurations leave out is no news

_PLAIN = "what colour is the square ? a photo of red blue cat dog two"
WORDS = ["[PAD]", "[UNK]", "[START]", *re.findall(r"\S+", _PLAIN)]
TEXTS = ("a red cat", "a blue dog", "two photo of cat")
QUESTION = "what colour is the square ?"
BEGINNING = "a photo of"

_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
_PATCHES = {**_BLOCKS, "image_size": 64, "patch_size": 8}
_TEXT = {
    **_BLOCKS,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 16,
    "bos_token_id": 2,
    "eos_token_id": 0,
    "sep_token_id": 0,
    "pad_token_id": 0,
}
_SQUARE = {"height": 64, "width": 64}
CLASSES = {"id2label": dict(enumerate(("ant", "bee", "cat", "dog", "elk")))}


class Tiny(NamedTuple):
    """How a model, and the processor that goes with it, are made, and what it needs beside a photo."""

    build: Callable[[], Any]
    processor: Callable[[], Any]
    needs: str = ""


def _resnet(**more: Any) -> Any:
    return t.ResNetConfig(embedding_size=16, hidden_sizes=[16, 24, 32, 40], depths=[1] * 4, **more)


def _clip() -> Any:
    vision = {**_PATCHES}
    return t.CLIPModel(t.CLIPConfig(text_config=_TEXT, vision_config=vision, projection_dim=24))


def _siglip() -> Any:
    return t.SiglipModel(t.SiglipConfig(text_config=_TEXT, vision_config=_PATCHES))


def _segformer() -> Any:
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 2, 4]}
    return t.SegformerForSemanticSegmentation(t.SegformerConfig(**sizes, decoder_hidden_size=16, **CLASSES))


def _detr() -> Any:
    ends = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    widths = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_queries": 9}
    backbone = _resnet(out_features=["stage4"])
    return t.DetrForObjectDetection(
        t.DetrConfig(use_timm_backbone=False, backbone=None, backbone_config=backbone, **ends, **widths, **CLASSES)
    )


def _vilt() -> Any:
    text = {key: _TEXT[key] for key in ("vocab_size", "max_position_embeddings")}
    return t.ViltForQuestionAnswering(t.ViltConfig(**_PATCHES, **text, **CLASSES))


def _blip(kind: Any) -> Any:
    text = {**_TEXT, "encoder_hidden_size": 32}
    return kind(t.BlipConfig(text_config=text, vision_config=_PATCHES, projection_dim=24))


def _encoder_decoder() -> Any:
    decoder = t.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=len(WORDS), n_positions=16)
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(t.ViTConfig(**_PATCHES), decoder)
    config.decoder_start_token_id, config.pad_token_id = 2, 0
    return t.VisionEncoderDecoderModel(config)


TINY = {
    "resnet": Tiny(
        lambda: t.ResNetForImageClassification(_resnet(**CLASSES)),
        lambda: t.ConvNextImageProcessorPil(size={"shortest_edge": 96}, crop_pct=0.875),
    ),
    "vit": Tiny(
        lambda: t.ViTForImageClassification(t.ViTConfig(**_PATCHES, **CLASSES)),
        lambda: t.ViTImageProcessorPil(size=_SQUARE),
    ),
    "swin": Tiny(
        lambda: t.SwinForImageClassification(
            t.SwinConfig(
                image_size=64, patch_size=4, embed_dim=16, depths=[1] * 3, num_heads=[2, 2, 4], window_size=4, **CLASSES
            )
        ),
        lambda: t.ViTImageProcessorPil(size=_SQUARE),
    ),
    "convnextv2": Tiny(
        lambda: t.ConvNextV2ForImageClassification(
            t.ConvNextV2Config(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], **CLASSES)
        ),
        lambda: t.ConvNextImageProcessorPil(size={"shortest_edge": 96}, crop_pct=0.875),
    ),
    "segformer": Tiny(_segformer, lambda: t.SegformerImageProcessorPil(size=_SQUARE)),
    "detr": Tiny(_detr, lambda: t.DetrImageProcessorPil(size={"shortest_edge": 192, "longest_edge": 320})),
    "clip": Tiny(_clip, lambda: t.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=_SQUARE), needs="labels"),
    "siglip": Tiny(_siglip, lambda: t.SiglipImageProcessorPil(size=_SQUARE), needs="labels"),
    "vilt": Tiny(_vilt, lambda: t.ViltImageProcessorPil(size={"shortest_edge": 64}), needs="question"),
    "blip_answers": Tiny(
        lambda: _blip(t.BlipForQuestionAnswering), lambda: t.BlipImageProcessorPil(size=_SQUARE), needs="question"
    ),
    "blip_captions": Tiny(
        lambda: _blip(t.BlipForConditionalGeneration), lambda: t.BlipImageProcessorPil(size=_SQUARE), needs="caption"
    ),
    "encoder_decoder": Tiny(_encoder_decoder, lambda: t.ViTImageProcessorPil(size=_SQUARE), needs="caption"),
}


def build(name: str) -> Any:
    """A model in evaluation mode, with seeded weights that neither grow nor shrink what passes them.

    Those of transformers' own start (0.02) all but lose a picture on its way through a few narrow blocks.
    """
    torch.manual_seed(0)
    model = TINY[name].build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model


def tokenizer() -> Any:
    """Whole words to their number in WORDS."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return t.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", bos_token="[START]", model_max_length=16
    )


def save(name: str, folder: Path) -> Any:
    """Save a model with its processor, and its tokenizer if it has one; returns the model."""
    model = build(name)
    model.save_pretrained(folder)
    TINY[name].processor().save_pretrained(folder)
    if TINY[name].needs:
        tokenizer().save_pretrained(folder)
    return model


def loading(name: str) -> dict[str, Any]:
    """Arguments of ``load_model`` beside the folder."""
    given = {"labels": {"labels": list(TEXTS)}, "question": {"text": QUESTION}, "caption": {"text": BEGINNING}}
    return given.get(TINY[name].needs, {})
