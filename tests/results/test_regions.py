"""A class of a segmentation in a region of the photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import gradsight as gs
import oracles
import plain
import tiny_transformers
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, ModelError, UnknownName

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


class Local(nn.Module):
    """Class scores of each 4 x 4 patch by its own mean colour and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Conv2d(3, 2, 1, bias=False)
        self.features.weight.data = torch.eye(3)[:, :, None, None]
        self.head.weight.data = torch.tensor([[1.0, 0.5, 0.2], [0.0, 1.0, 0.0]])[:, :, None, None]

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.head(self.features(nn.functional.avg_pool2d(x, 4)))}


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(50, 256, (96, 160, 3), dtype=np.uint8))


def local(targets: Any = None, **settings: Any) -> gs.Explainer:
    preprocess = gs.Preprocess((64, 64), **PLAIN, **settings)
    labels = ["red", "green"]
    return gs.Explainer(Local().eval(), preprocess=preprocess, labels=labels, method="hirescam", targets=targets)


MASK = np.zeros((96, 160), bool)
MASK[20:52, 60:100] = True


@pytest.mark.parametrize("settings", [{"fit": "squash"}, {"fit": "letterbox"}, {"fit": "crop"}, {"resize": 80}])
@pytest.mark.parametrize("region", [{"box": (20, 60, 52, 100)}, {"mask": MASK}])
def test_what_is_looked_at_is_the_region_of_the_photo(
    settings: dict[str, Any], region: dict[str, Any], photo: Image.Image
) -> None:
    """HiResCAM of a model that looks at each place by itself is zero outside of the region, and nowhere else."""
    explanation = local(**settings)([photo], targets=gs.Pixels("green", **region))
    heat = explanation.placements[0].to_image(explanation.maps[0, 0])
    rows, columns = np.nonzero(heat > 0.5 * heat.max())
    cell = 96 / 16 if settings.get("fit") != "letterbox" else 160 / 16
    found = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert np.abs(np.subtract(found, (20, 60, 52, 100))).max() <= cell + 1


def test_the_score_is_the_mean_of_the_logit_there(photo: Image.Image) -> None:
    explainer = local(fit="squash")
    logits = explainer._model.backend().outputs(torch.from_numpy(explainer.preprocess(photo))[None])["out"][0, 1]
    cells = np.asarray(logits)  # 16 x 16 cells of 6 x 10 pixels
    for region, expected in (
        ({}, cells.mean()),
        ({"box": (6, 10, 18, 40)}, cells[1:3, 1:4].mean()),
        ({"box": (9, 0, 12, 10)}, cells[1, 0]),
        ({"box": (3, 0, 9, 10)}, cells[:2, 0].mean()),  # half of each of two cells
        ({"point": (95, 159)}, cells[15, 15]),
        ({"box": np.array([6, 10, 18, 40])}, cells[1:3, 1:4].mean()),
        ({"point": (5.4, 9.6)}, cells[0, 1]),
    ):
        explanation = explainer([photo], targets=gs.Pixels(1, **region))
        assert explanation.scores[0, 0] == pytest.approx(float(expected), rel=1e-4), region


def test_regions_of_a_batch_are_in_pixels_of_the_input_and_may_be_one_for_each_image() -> None:
    batch = torch.rand(2, 3, 32, 32)
    masks = np.zeros((2, 32, 32))
    masks[0, :4, :4], masks[1, 28:, 28:] = 1, 1
    explanation = gs.Explainer(Local().eval(), method="hirescam")(batch, targets=gs.Pixels(0, mask=masks))
    assert [np.argwhere(m[0] > 0).tolist() for m in explanation.maps] == [[[0, 0]], [[7, 7]]]
    for method in ("scorecam", "ablationcam", "smooth(gradcam)"):
        assert gs.Explainer(Local().eval(), method=method)(batch, targets=gs.Pixels(0, mask=masks)).maps.any()


@pytest.mark.parametrize("region", [{"box": (8, 16, 40, 60)}, {"point": (30, 12)}])
def test_segformer_gives_the_map_of_a_plain_computation(region: dict[str, Any]) -> None:
    model = tiny_transformers.build("segformer")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    explanation = gs.Explainer(model, layer="decode_head.activation")(images, targets=gs.Pixels(3, **region))

    def score(outputs: Any, _: int) -> torch.Tensor:
        logits = outputs.logits[0, 3]  # 16 x 16 cells of 4 x 4 pixels
        return logits[2:10, 4:15].mean() if "box" in region else logits[7, 3]

    view = plain.Plain(model, "decode_head.activation", images, [score])
    expected = oracles.gradcam(view)
    np.testing.assert_allclose(explanation.scores, view.scores, rtol=1e-4)
    np.testing.assert_allclose(explanation.maps, expected, atol=1e-5 * np.abs(expected).max())


def test_against_and_contrast_take_regions(photo: Image.Image) -> None:
    explainer = local(fit="squash")
    here, there = gs.Pixels("red", box=(0, 0, 48, 80)), gs.Pixels("green", box=(48, 80, 96, 160))
    one, other = (explainer([photo], targets=t) for t in (here, there))
    against = explainer([photo], targets=gs.Against(here))
    both = explainer([photo], targets=gs.Contrast(here, there))
    np.testing.assert_allclose(against.maps, -one.maps, atol=1e-6)
    np.testing.assert_allclose(both.maps, one.maps - other.maps, atol=1e-6)
    assert both.targets[0][0].label == "red in 0,0,48,80 rather than green in 48,80,96,160"
    assert one.targets[0][0].index == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"box": (0, 0, 4, 4), "point": (1, 1)}, "one of mask, box and point"),
        ({"box": (4, 0, 4, 4)}, "with an area"),
        ({"box": (4, 0, 4)}, "must be 4 numbers"),
        ({"point": 3}, "must be 2 numbers"),
        ({"mask": np.zeros((4, 4))}, "not 0 everywhere"),
        ({"mask": np.ones(4)}, "not 0 everywhere"),
        ({"mask": -np.ones((4, 4))}, "not 0 everywhere"),
    ],
)
def test_regions_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        gs.Pixels(0, **given)


MODEL = f"{__name__}:build"


def build() -> gs.Model:
    return gs.Model(Local().eval(), gs.Preprocess((64, 64), fit="squash", **PLAIN), ["red", "green"])


def command(tmp_path: Path, photo: Image.Image, *options: str) -> Any:
    photo.save(tmp_path / "photo.png")
    arguments = ["explain", str(tmp_path / "photo.png"), "--model", MODEL, "--out", str(tmp_path), "--json", *options]
    return CliRunner().invoke(app, [*arguments, "--method", "hirescam"])


@pytest.mark.parametrize(
    ("options", "region"),
    [(("--box", "20,60,52,100"), {"box": (20, 60, 52, 100)}), (("--point", "40, 70"), {"point": (40, 70)})],
)
def test_the_command_line_takes_a_box_or_a_point(
    options: tuple[str, ...], region: dict[str, Any], photo: Image.Image, tmp_path: Path
) -> None:
    result = command(tmp_path, photo, "--class", "green", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    (target,) = json.loads(result.stdout)["targets"]
    expected = gs.explain(photo, model=build(), targets=gs.Pixels("green", **region), method="hirescam")
    assert target["score"] == pytest.approx(float(expected.scores[0, 0]), rel=1e-4)
    assert 20 <= target["peak"][0] < 52
    assert 60 <= target["peak"][1] < 100
    assert (tmp_path / target["file"]).is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--box", "1,2,3"), "--box must be 4 numbers"),
        (("--class", "red", "--point", "a,b"), "--point must be 2 numbers"),
        (("--point", "1,2"), "Add --class NAME"),
        (("--mask", "nowhere.png"), "There is no file 'nowhere.png'"),
        (("--class", "red", "--point", "1,2", "--box", "1,2,3,4"), "one of mask, box and point"),
    ],
)
def test_mistakes_on_the_command_line(
    options: tuple[str, ...], message: str, photo: Image.Image, tmp_path: Path
) -> None:
    result = command(tmp_path, photo, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_regions_that_do_not_fit(photo: Image.Image) -> None:
    explainer = local(fit="crop")
    with pytest.raises(InvalidArgument, match=r"what the model saw.*fit='letterbox'"):
        explainer([photo], targets=gs.Pixels(0, point=(40, 3)))
    with pytest.raises(InvalidArgument, match="96 x 160"):
        explainer([photo], targets=gs.Pixels(0, mask=np.ones((64, 64))))
    with pytest.raises(InvalidArgument, match="one for each"):
        explainer([photo, photo], targets=gs.Pixels(0, mask=np.ones((1, 96, 160))))
    with pytest.raises(UnknownName, match="'gren'"):
        explainer([photo], targets=gs.Pixels("gren"))
    flat = gs.Explainer(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval())
    with pytest.raises(ModelError, match=r"class scores at positions.*a tensor of shape \(1, 2\)"):
        flat(torch.rand(1, 3, 8, 8), targets=gs.Pixels(0))


def test_the_command_line_takes_a_mask_and_several_classes(photo: Image.Image, tmp_path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    result = command(tmp_path, photo, "--class", "green", "--class", "red", "--mask", str(tmp_path / "mask.png"))
    assert (result.exit_code, result.stderr) == (0, "")
    targets = json.loads(result.stdout)["targets"]
    expected = gs.explain(
        photo,
        model=build(),
        targets=gs.Several(gs.Pixels("green", mask=MASK), gs.Pixels("red", mask=MASK)),
        method="hirescam",
    )
    np.testing.assert_allclose([target["score"] for target in targets], expected.scores[0], rtol=1e-4)
    assert [target["place"] for target in targets] == [None, None]


@pytest.mark.parametrize(
    "options",
    [
        ("--class", "green", "--point", "40,70"),
        ("--class", "green", "--box", "20,60,52,100"),
        ("--class", "green", "--class", "red", "--mask", "mask.png"),
        ("--class", "green", "--box", "20,60,52,100", "--rather-than", "red"),
        ("--against", "green", "--point", "40,70"),
    ],
)
def test_the_layers_of_a_segmentation_are_listed_for_a_class_in_a_region(
    options: tuple[str, ...], photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.save("photo.png")
    Image.fromarray(MASK.astype(np.uint8) * 255).save("mask.png")
    result = CliRunner().invoke(app, ["layers", "photo.png", "--model", MODEL, "--json", *options])
    assert (result.exit_code, result.stderr) == (0, "")
    best = json.loads(result.stdout.splitlines()[0])
    assert (best["name"], best["grid"], best["chosen"]) == ("head", [16, 16], True)
    mistaken = CliRunner().invoke(app, ["layers", "photo.png", "--model", MODEL, "--class", "blue", *options[2:]])
    assert (mistaken.exit_code, mistaken.stdout) == (2, "")
    assert "'blue'" in mistaken.stderr


def test_layers_take_targets_in_place_of_the_explainer_s(photo: Image.Image) -> None:
    explainer = local(fit="squash")
    of_classes = explainer.layers([photo])  # of the mean over the picture
    assert of_classes[0].name == explainer.layers([photo], "green")[0].name
    expected = explainer([photo], targets=gs.Pixels("green", point=(40, 70))).layer
    assert explainer.layers([photo], gs.Pixels("green", point=(40, 70)))[0].name == expected
    kept = local(fit="squash", targets=gs.Pixels("red"))
    every = lambda outputs: outputs["out"].mean((1, 2, 3))  # noqa: E731
    assert kept.layers([photo])[0].name == local(fit="squash").layers([photo], gs.Pixels("red"))[0].name
    assert kept.layers([photo], every)[0].name == local(fit="squash").layers([photo], every)[0].name
