"""Methods of attention on models that people use, against slow formulas on the models' own code; torchcam beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

import gradsight as gs
import tiny_transformers as tiny
from attending import Attended, spelled_out
from gradsight.models.load import load_model
from gradsight.registry import METHODS
from oracles import ORACLES
from pictures import picture

pytestmark = [pytest.mark.pytorch]

SLOW = pytest.mark.slow
NAMES = [name for name in METHODS if METHODS[name].attends]
CLASSES = [[0, 3], [4, 1]]


def assert_all_same(explainer: gs.Explainer, inputs: Any, view: Attended, targets: Any, layer: str) -> None:
    """Each method's maps are the formula's, of a batch and of each image alone."""
    together = explainer(inputs, targets=targets, method=NAMES)
    alone = [explainer(inputs[i : i + 1], targets=targets[i : i + 1], method=NAMES) for i in range(len(targets))]
    for number, found in enumerate(together):
        assert found.layers == (layer,)
        expected = ORACLES[found.method](view)
        for maps, wanted in (
            (found.maps, expected),
            *((one[number].maps, expected[i : i + 1]) for i, one in enumerate(alone)),
        ):
            assert maps.shape == wanted.shape
            assert np.abs(wanted).max() > 0
            np.testing.assert_allclose(maps, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0, err_msg=found.method)


def drawn(model: nn.Module) -> nn.Module:
    """The same with weights that let a picture through: those that start at zero, or near it, show nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
            elif "gamma" in name or "weight" in name:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def vit() -> nn.Module:
    return VisionTransformer(64, 16, 3, 4, 32, 64, num_classes=5)


def of_timm(name: str, size: int, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, depth=3, img_size=size, num_classes=5, **options)


CLASSIFIERS: dict[str, tuple[Callable[[], nn.Module], int, str, str, dict[str, Any]]] = {
    "torchvision's ViT": (vit, 64, "encoder.layers.encoder_layer_{}", "1", {"extra": 1}),
    "DeiT with a distillation token": (
        of_timm("deit_tiny_distilled_patch16_224", 64),
        64,
        "blocks.{}",
        "1",
        {"extra": 2, "read": (0, 1)},
    ),
    "DINOv2 with registers": (of_timm("vit_small_patch14_reg4_dinov2", 56), 56, "blocks.{}", "1", {"extra": 5}),
    "a mean of tokens": (
        of_timm("vit_base_patch16_siglip_gap_224", 64, embed_dim=48),
        64,
        "blocks.{}",
        "norm",
        {"read": range(16)},
    ),
    "a pool of tokens": (
        of_timm("vit_base_patch16_siglip_224", 64, embed_dim=48),
        64,
        "blocks.{}",
        "norm",
        {"pool": True},
    ),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_maps_are_the_formula_s_on(kind: str) -> None:
    build, size, blocks, layer, options = CLASSIFIERS[kind]
    model, batch = drawn(build()), torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    options = dict(options)
    kinds: list[Any] = [(0, 0)] * 3 + [(1, 0)] * options.pop("pool", False)
    view = Attended(
        spelled_out(model).double(),
        [batch[i : i + 1].double() for i in range(2)],
        lambda outputs, i: [outputs[0, c] for c in CLASSES[i]],
        blocks=[blocks.format(i) for i in range(3)],
        kinds=kinds,
        grid=(4, 4),
        **options,
    )
    name = layer if layer == "norm" else blocks.format(layer)
    assert_all_same(gs.Explainer(model), batch, view, CLASSES, name)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def folder(name: str) -> Path:
        where = tmp_path_factory.mktemp(name)
        tiny.save(name, where)
        return where

    return folder


IMAGE = [(0, 0)] * 3

WRITERS: dict[str, tuple[str, str, Sequence[Any], dict[str, Any]]] = {
    # The towers run one after the other; three texts beside one picture are no row of it.
    "clip": (
        "model.vision_model.encoder.layers.{}",
        "model.vision_model.encoder.layers.1",
        [*IMAGE, *[None] * 3],
        {"extra": 1},
    ),
    "vilt": ("vilt.encoder.layer.{}", "vilt.encoder.layer.1", IMAGE, {"extra": 7}),
    "blip_captions": (
        "vision_model.encoder.layers.{}",
        "vision_model",
        [*IMAGE, *[(1, 1), (1, 0)] * 3],
        {"extra": 1, "read": (3,)},
    ),
    # Words of a question ask the picture, and those of an answer ask the question.
    "blip_answers": (
        "model.vision_model.encoder.layers.{}",
        "model.vision_model",
        [*IMAGE, *[(1, 1), (1, 0)] * 3, *[(2, 2), (2, 1)] * 3],
        {"extra": 1},
    ),
}


@pytest.mark.parametrize("kind", [kind if kind == "vilt" else pytest.param(kind, marks=SLOW) for kind in WRITERS])
def test_maps_are_the_formula_s_on_models_of_image_and_text(kind: str, folders: Callable[[str], Path]) -> None:
    blocks, layer, kinds, options = WRITERS[kind]
    loaded = load_model(folders(kind), **tiny.loading(kind))
    photos = [picture(64, 64), picture(80, 64)] if kind != "vilt" else [picture(64, 64), picture(64, 64).rotate(90)]
    eager = load_model(folders(kind), **tiny.loading(kind))
    for module in eager.model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = "eager"
    rows = []
    for photo in photos:
        batch = loaded.preprocess(photo)[None]
        given = batch if loaded.feed is None else loaded.feed(batch)
        rows.append(
            {k: torch.as_tensor(v) for k, v in given.items()} if isinstance(given, dict) else torch.as_tensor(given)
        )
    targets = [[0, 2], [1, 0]]

    def scores(outputs: Any, i: int) -> list[torch.Tensor]:
        logits = outputs.logits if loaded.scores is None else loaded.scores.function(outputs)
        return [logits[0, c] for c in targets[i]]

    view = Attended(
        eager.model, rows, scores, blocks=[blocks.format(i) for i in range(3)], kinds=kinds, grid=(8, 8), **options
    )
    assert_all_same(gs.Explainer(loaded), photos, view, targets, layer)


def test_legrad_is_torchcam_s() -> None:
    from torchcam.methods import LeGrad

    model, batch = drawn(vit()), torch.randn(2, 3, 64, 64)
    for text, layers in (("legrad", slice(None)), ("legrad(blocks=2)", slice(-2, None))):
        ours = gs.Explainer(model, method=text)(batch, targets=CLASSES)
        for i, j in np.ndindex(2, 2):
            with LeGrad(model, list(model.encoder.layers)[layers]) as extractor:
                (theirs,) = extractor(CLASSES[i][j], model(batch[i : i + 1]), normalized=False)
            expected = theirs[0].numpy()
            np.testing.assert_allclose(ours.maps[i, j], expected, atol=1e-5 * expected.max(), rtol=0)
