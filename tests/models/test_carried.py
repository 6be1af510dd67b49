"""What a bare module says of its pictures: timm's configuration, transformers' processor, sizes, channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image
from torch import nn

import gradsight as gs
import toys
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.carried import preprocess_carried
from gradsight.models.preprocess import GREY

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
REST = tuple(part for part in PARTS if part != "size")


def test_timm_s_own_transform_is_what_its_modules_carry() -> None:
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    found = preprocess_carried(model)
    assert isinstance(found, Preprocess)
    config = timm.data.resolve_model_data_config(model)
    expected = timm.data.create_transform(**config)(PHOTO)
    np.testing.assert_allclose(found(PHOTO), np.asarray(expected), atol=2e-2)
    assert found.mean == (0.5,) * 3
    assert found.assumed == ()
    assert preprocess_carried(nn.DataParallel(model)) == found
    assert not any("assumed" in note for note in gs.explain(PHOTO, model, layer="norm").notes)


class Configured(nn.Module):
    """A module with a configuration that is none of timm's."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.body, self.pretrained_cfg = toys.convolutional(), config

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


@pytest.mark.parametrize("config", [5, {}, {"mean": 1, "std": 2, "input_size": 3}])
def test_another_configuration_is_left(config: Any) -> None:
    assert preprocess_carried(Configured(config)) == Preprocess()


def vit(size: int) -> Any:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=size, patch_size=8
    )
    return transformers.ViTForImageClassification(config).eval()


def test_transformers_processor_is_taken_where_it_lies(tmp_path: Path) -> None:
    vit(48).save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 48, "width": 48}, image_mean=[0.1] * 3)
    processor.save_pretrained(tmp_path)
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    found = preprocess_carried(model)
    assert isinstance(found, Preprocess)
    assert found.assumed == ()
    expected = processor(images=PHOTO, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(found(PHOTO), expected, atol=2e-2)
    explanation = gs.explain(PHOTO, model)
    assert explanation.input_size == (48, 48)
    assert not any("assumed" in note for note in explanation.notes)


def test_without_a_processor_the_size_is_the_configuration_s() -> None:
    found = preprocess_carried(vit(32))
    assert isinstance(found, Preprocess)
    assert (found.size, found.assumed) == ((32, 32), REST)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (lambda: torchvision.models.VisionTransformer(64, 16, 1, 2, 16, 16, num_classes=5), (64, 64)),
        (lambda: timm.layers.PatchEmbed((32, 48), 16, 3, 8), (32, 48)),
    ],
)
def test_a_size_that_a_module_was_built_for(model: Any, size: tuple[int, int]) -> None:
    built = model()
    built.pretrained_cfg = None
    assert preprocess_carried(built).size == size  # type: ignore[union-attr]


def test_channels_are_those_of_the_first_convolution() -> None:
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = preprocess_carried(grey)
    assert (found.mean, found.std) == GREY  # type: ignore[union-attr]
    assert gs.explain(PHOTO, grey, size=32).maps.shape == (1, 1, 30, 30)
    assert preprocess_carried(nn.Sequential(nn.Conv2d(7, 4, 3))) is None
    for dimensions in (1, 3):
        assert preprocess_carried(toys.convolutional(dimensions=dimensions)) is None
    with pytest.raises(gs.GradsightError, match="no `preprocess` to make them"):
        gs.explain(PHOTO, toys.convolutional(dimensions=1))


def test_weights_of_torchvision_are_passed_as_they_are() -> None:
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    model = gs.Model(toys.convolutional(), preprocess=weights.transforms())
    explanation = gs.explain(PHOTO, model)
    assert explanation.input_size == (224, 224)
    assert not any("assumed" in note for note in explanation.notes)


def test_a_processor_is_not_asked_for_where_batches_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradsight.explaining.passes.preprocess_carried", lambda model: pytest.fail("it was asked"))
    explainer = gs.Explainer(toys.convolutional())
    assert explainer(torch.rand(1, 3, 16, 12)).maps.shape[0] == 1
    assert explainer(np.random.default_rng(0).random((1, 3, 16, 12), np.float32)).maps.shape[0] == 1


def test_a_grey_network_of_timm_gets_grey_pictures() -> None:
    model = timm.create_model("resnet10t", in_chans=1).eval()
    carried = preprocess_carried(model)
    assert carried is not None
    assert ((carried.mean, carried.std), carried.assumed) == (GREY, ("mean", "std"))
    assert carried.size == preprocess_carried(timm.create_model("resnet10t")).size  # type: ignore[union-attr]
    assert gs.explain(Image.new("RGB", (200, 190)), model).maps.shape == (1, 1, 6, 6)
