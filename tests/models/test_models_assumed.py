"""What a source of models assumes of the preprocessing is told: in the value, the note, the record, and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

import gradsight as gs
import tiny_transformers as tiny
import toys
from gradsight.errors import GradsightError
from gradsight.explaining import notes
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.load import load_model

FUNCTIONS = """
    import gradsight as gs
    import toys

    def build(): return toys.convolutional()
    def said(): return toys.convolutional(), gs.Preprocess((32, 32)), None
    def loaded(): return gs.Model(toys.convolutional(), labels=list("abcde"))
"""
SOURCE = "gradsight_test_assumed"
ALL = {"size": 32, "fit": "crop", "crop": 0.5, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.fixture
def source(folder: Any) -> str:
    folder.write(SOURCE, FUNCTIONS)
    return f"{SOURCE}:build"


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def told(explanation: gs.Explanation) -> list[str]:
    return [note for note in explanation.notes if note.startswith("nothing says how photos are made")]


def test_a_function_s_bare_model_is_told(source: str, tmp_path: Path) -> None:
    explanation = gs.explain([photo(), photo()], source, targets=gs.Top(2))
    (note,) = told(explanation)
    for words in (
        "size 224 x 224",
        "fit crop",
        "mean 0.485, 0.456, 0.406",
        "size= fit= crop= interpolation= mean= std= of load_model",
    ):
        assert words in note
    assert "preprocess=gs.Preprocess(...)" in note
    record = explanation.record(1).preprocess
    assert (record["assumed"], record["assumed_parts"], record["size"]) == (True, list(PARTS), [224, 224])
    explanation.save(tmp_path / "saved.npz")
    loaded = gs.Explanation.load(tmp_path / "saved.npz")
    assert loaded.record(1) == explanation.record(1)
    assert told(loaded) == [note]


def test_what_the_user_or_the_function_said_is_not(source: str) -> None:
    assert not told(gs.explain(photo(), f"{SOURCE}:said"))
    own = Preprocess((32, 32))
    loaded = load_model(source)
    for explanation in (
        gs.explain(photo(), source, preprocess=own),
        gs.explain(photo(), load_model(source, preprocess=own)),
        gs.explain(photo(), gs.Model(loaded.model, own)),
        gs.explain(photo(), load_model(source, **ALL)),
    ):
        assert not told(explanation)
        assert explanation.record().preprocess["assumed"] is False


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"size": 32}, ("fit", "crop", "interpolation", "mean", "std")),
        ({"size": 224}, ("fit", "crop", "interpolation", "mean", "std")),  # said, though it is what was assumed
        ({"fit": "squash"}, ("size", "interpolation", "mean", "std")),
        ({"fit": "crop", "size": 32}, ("crop", "interpolation", "mean", "std")),
        ({"crop": 0.5}, ("size", "fit", "interpolation", "mean", "std")),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, ("size", "fit", "crop", "interpolation")),
        ({"preprocess": lambda pixels: pixels / 255}, ("size", "fit", "crop", "interpolation")),
        ({"interpolation": "box", "std": [1.0] * 3}, ("size", "fit", "crop", "mean")),
    ],
)
def test_options_settle_their_part(source: str, options: dict[str, Any], left: tuple[str, ...]) -> None:
    loaded = load_model(source, **options)
    assert loaded.preprocess.assumed == left
    (note,) = notes.of_preprocess(loaded.preprocess.record())
    assert " ".join(f"--{part}" for part in left) in note.in_shell
    assert " ".join(f"{part}=" for part in left) in note.text
    assert "--" not in note.text
    for part in set(PARTS) - set(left):
        assert f"--{part} " not in note.in_shell
        assert f" {part}= " not in note.text


def test_a_batch_has_no_preprocessing(source: str) -> None:
    explanation = gs.Explainer(load_model(source))(torch.zeros(1, 3, 16, 16))
    assert explanation.record().preprocess is None
    assert not told(explanation)


class Own:
    """A preprocessing that is none of ours."""

    def place(self, picture: Image.Image) -> tuple[np.ndarray, gs.Placement]:
        return np.zeros((3, 8, 8), np.float32), gs.Placement.whole((picture.height, picture.width), (8, 8))


def test_an_object_of_the_user_s_own_is_named() -> None:
    explanation = gs.Explainer(toys.convolutional(), preprocess=Own())(photo())
    assert explanation.record().preprocess == {"function": "Own", "assumed": False}


# Source by source


class Strided(nn.Module):
    """Takes pictures of any size."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 4, 3, stride=2), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def exported(path: Path, channels: int = 3, **options: Any) -> Path:
    program = torch.export.export(Strided(channels).eval(), (torch.zeros(2, channels, 24, 20),), **options)
    torch.export.save(program, path)
    return path


def test_an_exported_program_says_its_size_alone(tmp_path: Path) -> None:
    dynamic = {"dynamic_shapes": ({2: torch.export.Dim("height", min=8, max=512)},)}
    assert load_model(exported(tmp_path / "fixed.pt2")).preprocess.assumed == PARTS[1:]
    assert load_model(exported(tmp_path / "grey.pt2", 1)).preprocess.assumed == PARTS[1:]
    assert load_model(exported(tmp_path / "any.pt2", **dynamic)).preprocess.assumed == PARTS


def test_an_onnx_file_says_its_size_and_what_integers_mean() -> None:
    from gradsight.models.sources.onnx.files import _preprocess
    from gradsight.models.sources.onnx.graph import Input

    def assumed(shape: tuple[int | None, ...], metadata: dict[str, str] | None = None, **about: Any) -> tuple[str, ...]:
        found = _preprocess(
            Input("x", shape, **{"channels_last": False, "integer": False, "highest": None} | about), metadata or {}
        )
        assert found is not None
        return found.assumed

    assert assumed((1, 3, 24, 20)) == PARTS[1:]
    assert assumed((1, 3, None, 20)) == PARTS
    assert assumed((1, 1, 24, 20)) == PARTS[1:]
    assert assumed((1, 3, 24, 20), highest=255) == PARTS[1:]  # by the look of its arithmetic
    assert assumed((1, 24, 20, 3), channels_last=True, integer=True, highest=255) == ("fit", "crop", "interpolation")
    assert assumed((1, 3, 24, 20), {"author": "Ultralytics"}) == ("fit", "crop", "interpolation")


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_weights_of_one_s_own_may_want_other_pictures(name: str, tmp_path: Path) -> None:
    random = load_model(name, weights="none")
    assert random.preprocess.assumed == PARTS
    torch.save(random.model.state_dict(), tmp_path / "own.pt")
    assert load_model(name, weights=tmp_path / "own.pt").preprocess.assumed == PARTS


def test_presets_of_torchvision_s_weights_are_known() -> None:
    from torchvision import models

    from gradsight.models.sources.torchvision.networks import _preprocess

    known = {
        "resnet18": models.ResNet18_Weights.DEFAULT,
        "fcn_resnet50": models.segmentation.FCN_ResNet50_Weights.DEFAULT,
        "fasterrcnn_resnet50_fpn": models.detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT,
    }
    assumed = [_preprocess(name, entry).assumed for name, entry in known.items()]
    assert assumed == [(), ("fit",), ("size", "fit", "interpolation")]


def test_the_demo_is_known_and_other_weights_for_it_are_not(tmp_path: Path) -> None:
    demo = load_model("demo")
    assert demo.preprocess.assumed == ()
    torch.save(demo.model.state_dict(), tmp_path / "own.pt")
    assert load_model("demo", weights=tmp_path / "own.pt").preprocess.assumed == PARTS


def test_an_image_processor_that_was_saved_is_known(tmp_path: Path) -> None:
    tiny.save("vit", tmp_path / "with")
    assert load_model(tmp_path / "with").preprocess.assumed == ()
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    transformers.Trainer(tiny.build("vit"), arguments).save_model(str(tmp_path / "without"))
    assert load_model(tmp_path / "without").preprocess.assumed == PARTS


def test_a_function_s_loaded_model_without_a_preprocessing(source: str) -> None:
    assert load_model(f"{SOURCE}:loaded").preprocess.assumed == PARTS
    with pytest.raises(GradsightError):
        load_model(source, crop=2)
