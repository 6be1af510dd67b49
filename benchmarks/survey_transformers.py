"""Small members of every vision class of transformers, for the survey."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from survey_models import CLASS, CLASSES, DEPTH, CannotBuild, Case, Member, awake, settled

TASKS = (
    "IMAGE_CLASSIFICATION",
    "VIDEO_CLASSIFICATION",
    "SEMANTIC_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "OBJECT_DETECTION",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
)

NOT_HERE: Mapping[str, str] = MappingProxyType(
    {
        "ImageGPTForImageClassification": "it takes colours as tokens, no image",
        "ShieldGemma2ForImageClassification": "a language model of 4 billion weights",
        "Siglip2ForImageClassification": "it takes patches, no image",
        "Siglip2Model": "it takes patches, no image",
    }
)

_DEPTHS = frozenset(
    ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "depth", "num_decoder_layers")
)
_PERCEIVER = {"num_latents": 32, "num_self_attends_per_block": 2, "num_cross_attention_heads": 1}
_NARROW = {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 192}
_VIDEO = {**_NARROW, "image_size": 112}
# What configurations are given beside less depth: a few have no default that runs, others are too large with theirs.
CONFIGURED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "BeitForSemanticSegmentation": {**_NARROW, "out_indices": [3, 5, 7, 11]},
        "Blip2ForImageTextRetrieval": {"qformer_config": {"use_qformer_text_input": True}},
        "Data2VecVisionForSemanticSegmentation": _NARROW,
        "LwDetrForObjectDetection": {
            "num_queries": 50,
            "projector_scale_factors": [1.0],
            "backbone_config": {
                "model_type": "lw_detr_vit",
                "hidden_size": 192,
                "num_hidden_layers": 4,
                "image_size": 224,
                "num_windows": 4,
                "window_block_indices": [0, 2],
                "out_indices": [2, 4],
            },
        },
        "PerceiverForImageClassificationLearned": _PERCEIVER,
        "PerceiverForImageClassificationFourier": {**_PERCEIVER, "image_size": 224},
        "PerceiverForImageClassificationConvProcessing": {**_PERCEIVER, "image_size": 224},
        "PPDocLayoutV2ForObjectDetection": {"class_thresholds": [0.5] * CLASSES, "class_order": list(range(CLASSES))},
        "PPOCRV6SmallDetForObjectDetection": {"layer_list_out_channels": [48, 96, 192, 384]},
        "RfDetrForObjectDetection": {"num_queries": 50},
        "Sapiens2ForSemanticSegmentation": {
            "head_config": {"upsample_out_channels": [64, 64], "conv_out_channels": [64, 64]}
        },
        "TimesformerForVideoClassification": _VIDEO,
        "VideoMAEForVideoClassification": _VIDEO,
        "VideoPrismClipModel": {"vision_config": {**_VIDEO, "image_size": 144}, "text_config": _NARROW},
        "VideoPrismForVideoClassification": {**_VIDEO, "image_size": 144},
        "VivitForVideoClassification": {**_VIDEO, "num_frames": 16},
        "VJEPA2ForVideoClassification": {"hidden_size": 192, "frames_per_clip": 8, "crop_size": 128},
    }
)


def transformers_members() -> Iterator[Member]:
    from transformers.models.auto import modeling_auto

    seen = set()
    for task in TASKS:
        for family, names in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").items():
            for name in (names,) if isinstance(names, str) else names:
                if name not in seen:
                    seen.add(name)
                    yield Member(family, name, functools.partial(_of_transformers, name, task))


def _shrink(config: Any, side: int = 224) -> Any:
    """Less depth, and no larger images, in a configuration and those inside of it."""
    values = dict(vars(config))
    read = [value for key, value in values.items() if key.endswith("out_indices") and value and len(value) > 1]
    for key, value in values.items():
        if hasattr(value, "to_dict"):
            _shrink(value, side)
        elif key in _DEPTHS and isinstance(value, int) and not read:
            setattr(config, key, min(value, DEPTH))
        elif key == "depths":
            setattr(config, key, type(value)(min(2, depth) for depth in value))
        elif key == "image_size" and value is not None and np.max(value) > side:
            setattr(config, key, side if isinstance(value, int) else [side, side])
    return config


def _of_transformers(name: str, task: str) -> Case:
    import torch
    import transformers

    if name in NOT_HERE:
        raise CannotBuild(NOT_HERE[name])
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    if kind.config_class is None:
        raise CannotBuild("it needs a package that is not installed")
    config = _shrink(kind.config_class(**CONFIGURED.get(name, {})))
    config.num_labels = CLASSES
    model = awake(kind(config))
    shape, axes = _shape(config, task)
    key = next((x for x in ("inputs", "pixel_values_videos") if x == model.main_input_name), "pixel_values")
    key = "pixel_values_videos" if name.startswith("VideoPrism") else key
    target = CLASS if task in ("IMAGE_CLASSIFICATION", "VIDEO_CLASSIFICATION") else _score
    return settled(Case(model, shape, axes, functools.partial(_fed, key, task, name), target))


def _shape(config: Any, task: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of one image or video that a model takes, and the axes of its positions."""
    vision = getattr(config, "vision_config", config)
    side = getattr(vision, "image_size", None) or getattr(vision, "crop_size", None) or 224
    size = (side, side) if isinstance(side, int) else tuple(side)
    if "VIDEO" not in task and not type(config).__name__.startswith("Video"):
        return (1, 3, *size), (2, 3)
    frames = next((getattr(vision, x) for x in ("num_frames", "frames_per_clip") if hasattr(vision, x)), 2)
    return (1, frames, 3, *size), (1, 3, 4)


def _fed(key: str, task: str, name: str, images: Any) -> dict[str, Any]:
    """The images, and the texts that some models read beside them."""
    if name.startswith("OneFormer"):
        return {key: images, "task_inputs": np.ones((len(images), 77), np.int64)}
    if not task.startswith("ZERO_SHOT"):
        return {key: images}
    texts = np.random.default_rng(0).integers(5, 90, (3, 8))
    return {key: images, "input_ids": texts, "attention_mask": np.ones_like(texts)}


def _score(outputs: Any) -> Any:
    """Of what is no classifier: one class, at its best query or on average over the picture; how well a text fits."""
    for key in ("logits_per_image", "logits_per_video"):
        if getattr(outputs, key, None) is not None:
            return outputs[key][:, CLASS]
    kinds = (getattr(outputs, key, None) for key in ("class_queries_logits", "logits", "last_hidden_state"))
    found: Any = next(scores for scores in kinds if scores is not None)
    if found.ndim == 3:
        return found[..., CLASS].amax(1)
    return found[:, min(CLASS, found.shape[1] - 1)].mean((1, 2))
