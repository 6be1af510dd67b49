"""Architectures of timm and transformers: the layer, how its output folds, and the map, against plain computations."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import gradsight as gs
import tiny_transformers
from gradsight.models.load import load_model
from tolerances import rounding


def first(a: Any, *_: Any) -> Any:
    return a


def last(a: Any, *_: Any) -> Any:
    """Channels at the end: (n, rows, columns, channels)."""
    return np.moveaxis(a, -1, 1)


def tokens(extra: int = 0) -> Callable[..., Any]:
    """Row by row, after some that are no position: (n, extra + rows * columns, channels)."""

    def fold(a: Any, rows: int, columns: int) -> Any:
        folded = np.empty((len(a), a.shape[2], rows, columns))
        for row in range(rows):
            for column in range(columns):
                folded[:, :, row, column] = a[:, extra + row * columns + column]
        return folded

    return fold


# In small, of the same make: less deep and less wide than their names say.
SMALLER = {
    "vit_tiny_patch16_224": {"depth": 4},
    "deit_tiny_distilled_patch16_224": {"depth": 4},
    "vit_small_patch14_reg4_dinov2": {"depth": 4, "img_size": 98},
    "swin_tiny_patch4_window7_224": {"depths": (2, 2, 2, 2), "embed_dim": 48},
    "swinv2_tiny_window8_256": {"depths": (2, 2, 2, 2), "embed_dim": 48},
    "cait_xxs24_224": {"depth": 4},
    "beit_base_patch16_224": {"depth": 4, "embed_dim": 96, "num_heads": 3},
}

# The input's side, the layer, its grid, and how that is folded. The layer is the last cut with gradients at positions.
TIMM = {
    "vit_tiny_patch16_224": (224, "blocks.2", 14, tokens(1)),  # the head reads the class token of block 3
    "deit_tiny_distilled_patch16_224": (224, "blocks.2", 14, tokens(2)),  # and a distillation token
    "vit_small_patch14_reg4_dinov2": (98, "blocks.2", 7, tokens(5)),  # and four registers
    "swin_tiny_patch4_window7_224": (224, "norm", 7, last),
    "swinv2_tiny_window8_256": (256, "norm", 8, last),
    "convnext_atto": (224, "stages", 7, first),  # what follows is pooled
    "efficientnet_b0": (224, "bn2", 7, first),
    "mobilevit_xxs": (256, "final_conv", 8, first),
    "maxvit_pico_rw_256": (256, "norm", 8, first),
    "cait_xxs24_224": (224, "blocks", 14, tokens()),  # the class token comes after these blocks
    "beit_base_patch16_224": (224, "blocks.3", 14, tokens(1)),  # its head reads the mean of the other tokens
    "pvt_v2_b0": (224, "stages", 7, first),
    "mixer_s32_224": (224, "norm", 7, tokens()),
}

TRANSFORMERS = {
    "resnet": (64, "resnet.encoder", 2, first),
    "vit": (64, "vit.layers.1", 8, tokens(1)),
    "swin": (64, "swin.layernorm", 4, tokens()),
    "convnextv2": (64, "convnextv2.encoder", 2, first),
    "segformer": (64, "decode_head.activation", 16, first),
    "detr": (192, "model.encoder", 6, tokens()),  # what follows are queries, not positions
    "clip": (64, "model.vision_model.encoder.layers.1", 8, tokens(1)),
    "siglip": (64, "model.vision_model.post_layernorm", 8, tokens()),  # what follows is a pool by attention
    "vilt": (64, "vilt.encoder.layer.1", 8, tokens(len(tiny_transformers.QUESTION.split()) + 1)),  # text, class token
    "blip_answers": (64, "model.vision_model", 8, tokens(1)),  # what follows are words
    "blip_captions": (64, "vision_model", 8, tokens(1)),
    "encoder_decoder": (64, "encoder", 8, tokens(1)),
}

PATCHES = [(0, 1), (1, 0), (2, 3), (3, 1), (4, 5)]
"""Positions (row, column) where evidence is put; those that a map has. No two mirror, turn or shift into each other."""


def of_timm(name: str) -> gs.Model:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=5, **SMALLER.get(name, {})).eval()
    head = model.get_classifier()
    for layer in head if isinstance(head, tuple) else (head,):
        torch.nn.init.normal_(layer.weight, std=0.02)  # some begin with zeros, which no gradient passes
    return gs.Model(model)


@pytest.fixture(scope="module")
def of_transformers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], gs.Model]:
    def load(name: str) -> gs.Model:
        folder = tmp_path_factory.mktemp(name)
        tiny_transformers.save(name, folder)
        return load_model(folder, **tiny_transformers.loading(name))

    return load


def fed(loaded: gs.Model, images: Any) -> Any:
    return images if loaded.feed is None else loaded.feed(images)


def plainly(loaded: gs.Model, images: Any, layer: str) -> tuple[Any, Any, Any]:
    """Scores, the layer's output and its gradient by a hook and autograd, as a textbook has it."""
    seen: list[Any] = []
    module = loaded.model.get_submodule(layer)

    def hook(_module: Any, _arguments: Any, output: Any) -> None:
        found = output if isinstance(output, torch.Tensor) else output[0]
        found.retain_grad()
        seen.append(found)

    handle = module.register_forward_hook(hook)
    try:
        given = fed(loaded, images)
        tensors = {k: torch.as_tensor(v) for k, v in given.items()} if isinstance(given, dict) else None
        outputs = loaded.model(torch.as_tensor(given)) if tensors is None else loaded.model(**tensors)
    finally:
        handle.remove()
    scores = outputs if loaded.scores is None else loaded.scores.function(outputs)
    scores = scores if isinstance(scores, torch.Tensor) else scores.logits
    classes = scores.argmax(dim=1)
    scores[torch.arange(len(scores)), classes].sum().backward()
    loaded.model.zero_grad()
    return classes, seen[-1].detach().double().numpy(), seen[-1].grad.double().numpy()


def grad_cam(activations: Any, gradients: Any, fold: Callable[..., Any], grid: tuple[int, int]) -> Any:
    """Equations 1 and 2 of the paper, before its ReLU, in loops."""
    a, g = fold(activations, *grid), fold(gradients, *grid)
    maps = np.zeros((len(a), *grid))
    for i in range(len(a)):
        for channel in range(a.shape[1]):
            maps[i] += g[i, channel].mean() * a[i, channel]
    return maps


def check_map(loaded: gs.Model, images: Any, layer: str, grid: tuple[int, int], fold: Any) -> None:
    explainer = gs.Explainer(loaded)
    best = explainer.layers(fed(loaded, images))[0]
    assert (best.name, best.layout.grid) == (layer, grid)
    found = explainer(fed(loaded, images))
    named = gs.Explainer(loaded)(fed(loaded, images), layer=layer)
    np.testing.assert_array_equal(found.maps, named.maps)
    classes, activations, gradients = plainly(loaded, images, layer)
    assert [row[0].index for row in found.targets] == classes.tolist()
    expected = grad_cam(activations, gradients, fold, grid)
    tolerance = rounding(terms=1024, layers=24)
    np.testing.assert_allclose(found.maps[:, 0], expected, atol=tolerance * np.abs(expected).max(), rtol=0)


OVERLAPPING = ("efficientnet_b0", "mobilevit_xxs", "pvt_v2_b0", "resnet", "segformer", "detr")
"""Strided convolutions that overlap: a position sees a part of its neighbours' patches as well, at most of one cell."""

RESIDUAL = re.compile(r"(fc2|attn\.proj|o_proj|output\.dense|conv3_1x1)\.weight")
"""The last weights of branches that a sum adds to what passes them."""


def check_fold(loaded: gs.Model, side: int, grid: tuple[int, int], reach: int) -> None:
    """The map of evidence in one patch peaks at that patch, in a model that mixes positions little."""
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if RESIDUAL.search(name):
                parameter.mul_(0.02)  # with random weights these send a patch anywhere
    patches = [(row, column) for row, column in PATCHES if row < grid[0] and column < grid[1]]
    step = side // grid[0]
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((3, step, step)).astype(np.float32) * 3
    # not blank around the patch: normalisation blows up whatever reaches an empty position
    shown = np.repeat(generator.standard_normal((1, 3, side, side)).astype(np.float32), len(patches) + 1, axis=0)
    for i, (row, column) in enumerate(patches):
        shown[i + 1, :, row * step : (row + 1) * step, column * step : (column + 1) * step] = noise

    def changed(probe: Any, _ops: Any) -> Any:
        return ((probe.activations - probe.activations[:1]) ** 2).sum(1)[:, None]

    energy = gs.Explainer(loaded, method=changed, targets=0)(fed(loaded, shown)).maps[1:, 0]
    for i, place in enumerate(patches):
        peak = np.unravel_index(energy[i].argmax(), grid)
        assert np.abs(np.subtract(peak, place)).max() <= reach


@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str) -> None:
    side, layer, cells, fold = TIMM[name]
    loaded = of_timm(name)
    images = np.random.default_rng(1).standard_normal((2, 3, side, side)).astype(np.float32)
    check_map(loaded, images, layer, (cells, cells), fold)
    check_fold(loaded, side, (cells, cells), reach=name in OVERLAPPING)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name: str, of_transformers: Callable[[str], gs.Model]) -> None:
    side, layer, cells, fold = TRANSFORMERS[name]
    loaded = of_transformers(name)
    images = np.random.default_rng(1).standard_normal((2, 3, side, side)).astype(np.float32)
    check_map(loaded, images, layer, (cells, cells), fold)
    check_fold(loaded, side, (cells, cells), reach=name in OVERLAPPING)


@pytest.mark.parametrize(("name", "side"), [("detr", (192, 288)), ("vilt", (64, 96)), ("segformer", (64, 128))])
def test_transformers_of_pictures_that_are_no_squares(
    name: str, side: tuple[int, int], of_transformers: Callable[[str], gs.Model]
) -> None:
    square, layer, cells, fold = TRANSFORMERS[name]
    grid = (side[0] * cells // square, side[1] * cells // square)
    loaded = of_transformers(name)
    images = np.random.default_rng(1).standard_normal((2, 3, *side)).astype(np.float32)
    check_map(loaded, images, layer, grid, fold)


def test_words_and_queries_are_no_positions(of_transformers: Callable[[str], gs.Model]) -> None:
    loaded = of_transformers("blip_captions")
    images = np.zeros((1, 3, 64, 64), dtype=np.float32)
    cuts = [layer.name for layer in gs.Explainer(loaded).layers(fed(loaded, images)) if layer.cut]
    assert "vision_model" in cuts
    assert not any(name.startswith("text_decoder") for name in cuts)


def test_vilt_as_transformers_makes_it_shuffles_its_patches_and_a_note_says_so() -> None:
    torch.manual_seed(0)
    inputs = {"pixel_values": torch.randn(1, 3, 64, 64), "input_ids": torch.ones(1, 4, dtype=torch.long)}
    explanation = gs.Explainer(tiny_transformers.build("vilt"))(inputs)
    assert any(note.code == "random_model" for note in explanation.target_notes[0][0])


@pytest.mark.parametrize("method", ["gradcam", "scorecam(top=4)", "smooth(gradcam)", "gradient"])
def test_texts_beside_images_are_not_one_for_each_image(method: str) -> None:
    """CLIP as transformers makes it: two pictures, three texts, and scores (pictures, texts)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    texts = torch.randint(3, 15, (3, 6), generator=generator)
    explainer = gs.Explainer(tiny_transformers.build("clip"), method=method, targets=gs.Classes(0, 2))
    both = explainer({"pixel_values": images, "input_ids": texts})
    assert both.scores.shape == (2, 2)
    if "smooth" in method:  # whose noise is drawn for the batch
        return
    for i in range(2):
        alone = explainer({"pixel_values": images[i : i + 1], "input_ids": texts})
        np.testing.assert_allclose(both.maps[i], alone.maps[0], atol=1e-4 * np.abs(alone.maps).max())


def test_pooled_vectors_are_no_positions() -> None:
    """Swin's pool gives (n, 64, 1): 64 channels, as many as an 8 x 8 grid of the model has positions."""
    model = tiny_transformers.build("swin")
    listed = gs.Explainer(model).layers(np.zeros((1, 3, 64, 64), dtype=np.float32))
    assert "swin.pooler" not in [layer.name for layer in listed]


def test_a_class_token_alone_is_no_map() -> None:
    """PiT's norm gives (n, 1, 256), its class token: 256 channels, which a 16 x 16 grid has positions."""
    torch.manual_seed(0)
    model = timm.create_model("pit_ti_224", pretrained=False, num_classes=5).eval()
    best = gs.Explainer(model).layers(np.zeros((1, 3, 224, 224), dtype=np.float32))[0]
    assert (best.name, best.layout.grid, best.layout.extra) == ("transformers.2.blocks.2", (7, 7), 1)


def test_folder_paths_are_pathlib_s_too(tmp_path: Path) -> None:
    tiny_transformers.save("vit", tmp_path)
    assert load_model(tmp_path).labels == load_model(f"hf:{tmp_path}").labels
