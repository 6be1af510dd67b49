"""Channels: ranked by alpha, named by concepts, shown by photos; judged by slow plain loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import commands
import gradsight as gs
import toys
from commands import MODEL, lines, run
from gradsight.errors import ImageError, InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.neurons import Neuron, activations, ranked
from gradsight.neurons.concepts import Label
from tolerances import rounding

here, models = commands.here, commands.models  # fixtures
SIDE = 16
PREPROCESS = gs.Preprocess(size=(SIDE, SIDE), resize=20, fit="crop")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def noise(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


@pytest.fixture
def explainer() -> gs.Explainer:
    return gs.Explainer(toys.convolutional(), layer="4", preprocess=PREPROCESS, name="toy", batch_size=4)


@pytest.fixture
def explanation(explainer: gs.Explainer) -> gs.Explanation:
    return explainer([noise(0), noise(1)], targets=gs.Top(3))


def mask(seed: int, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    """Two rectangles."""
    rng, found = np.random.default_rng(seed), np.zeros(size, bool)
    for _ in range(2):
        top, left = rng.integers(0, (size[0] - 8, size[1] - 8))
        found[top : top + 8, left : left + 8] = True
    return found


def save(path: Path, image: Image.Image, region: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    if region is not None:
        Image.fromarray(region).save(path.with_suffix(".mask.png"))
    return path


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    """Two categories; a photo in both, one in two folders of a category, and one that is all of its concept."""
    top = tmp_path / "concepts"
    for i in range(4):
        save(top / "shape" / "round" / f"{i}.png", noise(i), mask(i))
    save(top / "shape" / "square" / "1.png", noise(0), mask(9))
    save(top / "shape" / "square" / "2.png", noise(7), mask(10))
    save(top / "colour" / "red" / "1.png", noise(8))
    save(top / "colour" / "red" / "2.png", noise(2), mask(2))
    return top


# Ranking


def test_alphas_are_the_mean_gradients_and_say_what_a_small_step_says(explanation: gs.Explanation) -> None:
    model = toys.convolutional()
    torch.manual_seed(0)
    inputs = torch.from_numpy(np.stack([PREPROCESS(noise(i)) for i in range(2)]))
    explainer = gs.Explainer(model, layer="4")
    found = explainer(inputs, targets=gs.Classes(0, 3))
    with torch.no_grad():
        maps = model[:5](inputs).double()
        head = model[5:].double()
        for c in range(6):
            more = maps.clone()
            more[:, c] += 1e-3
            slope = (head(more) - head(maps))[:, [0, 3]] / 1e-3
            np.testing.assert_allclose(found.alphas[:, :, c] * maps[0, 0].numel(), slope, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.channel_means, maps.mean((2, 3)), rtol=1e-5)
    assert (found.alphas.dtype, found.alphas.shape, explanation.alphas.shape) == (np.float32, (2, 2, 6), (2, 3, 6))


def test_the_strongest_come_first_on_both_sides(explanation: gs.Explanation) -> None:
    alphas, means = explanation.alphas[1, 2], explanation.channel_means[1]
    found = explanation.neurons(2, 1, 2)
    order = sorted(range(6), key=lambda c: -alphas[c])
    assert [x.channel for x in found.positive] == [c for c in order[:2] if alphas[c] > 0]
    assert [x.channel for x in found.negative] == [c for c in order[::-1][:2] if alphas[c] < 0]
    assert found.channels == tuple(x.channel for x in (*found.positive, *found.negative))
    for neuron in found.positive:
        assert neuron.alpha == pytest.approx(float(alphas[neuron.channel]))
        assert neuron.activation == pytest.approx(float(means[neuron.channel]))
    assert (found.label, found.layer) == (explanation.labels[1][2], "4")
    whole = explanation.neurons(99, 1, 2, by="contribution")
    total = sum(x.contribution for x in (*whole.positive, *whole.negative))
    assert total == pytest.approx(float(explanation.maps[1, 2].mean()), rel=1e-4)
    json.dumps(found.record())


def test_by_contribution_a_silent_channel_counts_nothing() -> None:
    alphas, means = np.array([3.0, 2, 1, -1, np.nan]), np.array([0.0, 1, 5, 2, 1])
    by_alpha = ranked(alphas, means, k=9, label="x", layer="l")
    by_contribution = ranked(alphas, means, k=9, label="x", layer="l", by="contribution")
    assert [x.channel for x in by_alpha.positive] == [0, 1, 2]
    assert [x.channel for x in by_contribution.positive] == [2, 1]
    assert [x.channel for x in by_contribution.negative] == [3]


def test_methods_without_the_layers_gradient_have_no_alphas(explainer: gs.Explainer) -> None:
    for method in ("eigencam", "gradient", "refine(gradcam)", lambda probe, ops: probe.activations[:, :1]):
        found = explainer([noise(0)], method=method)
        assert found.alphas is None
        with pytest.raises(InvalidArgument, match=r"did not take it\. Explain with method='gradcam'"):
            found.neurons()
    both = explainer([noise(0)], method=["gradcam", "eigencam", "layercam"])
    assert [x.alphas is None for x in both] == [False, True, False]


def test_alphas_are_saved_and_older_files_load_without(explanation: gs.Explanation, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    explanation.save(path)
    loaded = gs.Explanation.load(path)
    np.testing.assert_array_equal(loaded.alphas, explanation.alphas)
    assert loaded.neurons(3).sentence == explanation.neurons(3).sentence
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files if name not in ("alphas", "channel_means")}
    np.savez(path, **arrays)
    assert gs.Explanation.load(path).alphas is None


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"k": 0}, InvalidArgument, "`k` must be a whole number"),
        ({"image": 2}, InvalidArgument, "`image` must be a whole number from 0 to 1"),
        ({"target": -1}, InvalidArgument, "`target` must be a whole number from 0 to 2"),
        ({"by": "size"}, UnknownName, "no order of channels 'size'"),
        ({"dissection": "x.npz"}, InvalidType, "`dissection` must be what"),
    ],
)
def test_what_cannot_be_ranked(explanation: gs.Explanation, wrong: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        explanation.neurons(**wrong)


# The sentence


def neuron(channel: int, name: str | None = None, alpha: float = 1.0, activation: float = 1.0) -> Neuron:
    return Neuron(channel, alpha, activation, name, None if name is None else 0.1)


@pytest.mark.parametrize(
    ("positive", "negative", "sentence"),
    [
        (
            [neuron(12, "fur"), neuron(3), neuron(40, "stripes"), neuron(7, "stripes")],
            [neuron(9, "dog snout", -1), neuron(100, None, -1)],
            "tabby rested on fur (channel 12), stripes (channels 40 and 7) and channel 3; dog snout (channel 9) and "
            "channel 100 spoke against it.",
        ),
        ([neuron(1), neuron(2), neuron(3)], [], "tabby rested on channels 1, 2 and 3."),
        ([neuron(1, activation=0.0)], [], "nothing among these channels spoke for tabby."),
        # What is silent did nothing; what is below 0 did the opposite.
        ([neuron(1), neuron(2, "fur", activation=-1)], [neuron(5, "sea", -1, 0.0)], "tabby rested on channel 1."),
    ],
)
def test_the_sentence(positive: list[Neuron], negative: list[Neuron], sentence: str) -> None:
    assert gs.Neurons(tuple(positive), tuple(negative), "tabby", "l").sentence == sentence


# Dissection


def plain_iou(explainer: gs.Explainer, top: Path, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """The paper's formula, position by position; masks resized and cropped as photos are, here by hand."""
    names = ["colour/red", "shape/round", "shape/square"]
    photos: dict[bytes, dict[int, Path]] = {}
    for i, name in enumerate(names):
        for path in sorted((top / name).glob("?.png")):
            photos.setdefault(path.read_bytes(), {})[i] = path
    maps = {key: explainer([next(iter(found.values()))]) for key, found in photos.items()}
    seen = {key: explainer._activations(None)([found.photos[0]]).values[0].astype(float) for key, found in maps.items()}
    regions = {path: marked(path) for labels in photos.values() for path in labels.values()}
    channels = len(next(iter(seen.values())))
    thresholds, iou = np.zeros(channels), np.zeros((channels, 3))
    for c in range(channels):
        values = sorted((float(v) for x in seen.values() for v in x[c].ravel()), reverse=True)
        thresholds[c] = values[int(quantile * len(values))]
        active = {key: bilinear(x[c], SIDE) > thresholds[c] for key, x in seen.items()}
        for concept in range(3):
            both = either = 0
            for key, labels in photos.items():
                if not any(names[i].split("/")[0] == names[concept].split("/")[0] for i in labels):
                    continue
                for row in range(SIDE):
                    for column in range(SIDE):
                        here = concept in labels and bool(regions[labels[concept]][row, column])
                        both += here and active[key][row, column]
                        either += here or active[key][row, column]
            iou[c, concept] = both / either if either else 0
    return iou, thresholds


def marked(path: Path) -> np.ndarray:
    """Photos are 24 x 20: resized to 24 x 20 (the shorter side), of which the model sees the central 16 x 16."""
    beside = path.with_suffix(".mask.png")
    whole = np.asarray(Image.open(beside)) if beside.exists() else np.ones((24, 20), bool)
    return whole[4:20, 2:18]


def bilinear(values: np.ndarray, side: int) -> np.ndarray:
    found = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            y, x = ((i + 0.5) * n / side - 0.5 for i, n in zip((row, column), values.shape, strict=True))
            y, x = (max(0, min(v, n - 1)) for v, n in zip((y, x), values.shape, strict=True))
            for i in range(int(y), min(int(y) + 2, values.shape[0])):
                for j in range(int(x), min(int(x) + 2, values.shape[1])):
                    found[row, column] += values[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return found


@pytest.mark.parametrize("kept", [1 << 28, 0])
def test_a_dissection_is_the_papers_formula(
    explainer: gs.Explainer, concepts: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "_KEPT", kept)
    found = explainer.dissect(concepts, quantile=0.06)
    iou, thresholds = plain_iou(explainer, concepts, 0.06)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=rounding(terms=36, layers=2) * thresholds.max())
    np.testing.assert_allclose(found.iou, iou, atol=1e-6)
    assert (iou > 0).mean() > 0.5
    assert (found.concepts, found.categories) == (("red", "round", "square"), ("colour", "shape", "shape"))
    assert (found.layer, found.model, found.photos, found.quantile) == ("4", "toy", 6, 0.06)
    assert found.counts.tolist() == [2, 4, 2]


def test_names_are_the_best_concepts_over_the_least_iou(
    explainer: gs.Explainer, explanation: gs.Explanation, concepts: Path, tmp_path: Path
) -> None:
    found = explainer.dissect(gs.Concepts.read(concepts), quantile=0.06)
    for channel in range(6):
        best = int(found.iou[channel].argmax())
        assert found.best(channel) == (found.concepts[best], pytest.approx(float(found.iou[channel, best])))
        assert found.name(channel, found.best(channel)[1]) is None  # not over it
    ranks = explanation.neurons(6, dissection=found, least=0)
    for x in (*ranks.positive, *ranks.negative):
        assert (x.name, x.iou) == (found.name(x.channel, 0), found.best(x.channel)[1] or None)
    nameless = explanation.neurons(6, dissection=found, least=1)
    assert {(x.name, x.iou) for x in nameless.positive} == {(None, None)}
    found.save(tmp_path / "d.npz")
    loaded = gs.Dissection.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(loaded.iou, found.iou)
    assert repr(loaded) == repr(found)
    (tmp_path / "d.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidArgument, match=r"is not a dissection that Dissection\.save wrote"):
        gs.Dissection.load(tmp_path / "d.npz")


def test_a_dissection_of_something_else_is_refused(
    explainer: gs.Explainer, explanation: gs.Explanation, concepts: Path
) -> None:
    early = explainer.dissect(concepts, layer="2", quantile=0.06)
    with pytest.raises(InvalidArgument, match=r"'4' with 6 channels\. Received: one of '2' with 4"):
        explanation.neurons(dissection=early)
    other = gs.Explainer(toys.convolutional(), layer="4", preprocess=PREPROCESS, name="other")
    with pytest.raises(InvalidArgument, match=r"model, 'toy'\. Received: one of 'other'"):
        explanation.neurons(dissection=other.dissect(concepts, quantile=0.06))
    with pytest.raises(InvalidArgument, match="`channel` must be a whole number from 0 to 3"):
        early.name(4)
    with pytest.raises(InvalidArgument, match="`least` must be a number from 0 to 1"):
        early.name(0, 2)


class Red(nn.Module):
    """Channel 0 is how red a place is, channel 1 how blue, channel 2 is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [0, 0, 0]])[..., None, None]
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = torch.tensor([[2.0, -1, 0], [-1, 2, 0], [0, 0, 9]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.conv(nn.functional.avg_pool2d(x, 4))).mean((2, 3)))


def red(model: nn.Module | None = None, **options: Any) -> gs.Explainer:
    settings = {"size": (32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3, **options}
    return gs.Explainer(model or Red().eval(), layer="conv", preprocess=gs.Preprocess(**settings))


def squares(seed: int, size: tuple[int, int] = (64, 64)) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """A red square at the left and a blue one at the right, a quarter of the height each, and where they are."""
    rng, unit = np.random.default_rng(seed), size[0] // 8
    pixels = np.full((*size, 3), 20, np.uint8)
    regions = []
    for half, colour in enumerate((RED, BLUE)):
        top, left = rng.integers(0, 7) * unit, half * size[1] // 2 + rng.integers(0, 2) * unit
        region = np.zeros(size, bool)
        region[top : top + 2 * unit, left : left + 2 * unit] = True
        pixels[region] = colour
        regions.append(region)
    return Image.fromarray(pixels), *regions


def test_the_region_is_the_mask_the_transparency_or_all_of_it(tmp_path: Path) -> None:
    for i in range(6):
        photo, at_red, at_blue = squares(i)
        if i % 2:
            save(tmp_path / "c" / "red" / f"{i}.png", photo, at_red)
        else:
            cut = photo.copy()
            cut.putalpha(Image.fromarray((at_red * 255).astype(np.uint8)))
            save(tmp_path / "c" / "red" / f"{i}.png", cut)
        save(tmp_path / "c" / "blue" / f"{i}.png", photo, at_blue[::2, ::2])  # at half the resolution
    save(tmp_path / "c" / "scene" / "1.jpg", noise(3, (64, 64)))
    concepts = gs.Concepts.read(tmp_path / "c")
    assert len(concepts.photos) == 10  # three of them in two folders
    found = red().dissect(concepts, quantile=0.04)
    assert (found.name(0), found.name(1), found.name(2)) == ("red", "blue", None)
    assert found.areas[found.concepts.index("red")] == pytest.approx(6 * 256 / (10 * 4096), rel=1e-4)
    assert found.areas[found.concepts.index("scene")] == pytest.approx(0.1)


def test_padding_is_compared_with_nothing(tmp_path: Path) -> None:
    photo, at_red, _ = squares(0, (32, 64))
    save(tmp_path / "red" / "1.png", photo, at_red)
    save(tmp_path / "all" / "1.png", noise(1, (32, 64)))
    found = red(fit="letterbox", fill=1.0).dissect(tmp_path, quantile=0.2)
    np.testing.assert_allclose(found.areas, [0.5, 64 / 4096], rtol=1e-4)
    # The square is 2 x 4 cells of 4 pixels; between their centres, 4 x 12, the channel is at its ceiling, as it is in
    # the red padding.
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[4:12, 8:24] = RED
    save(tmp_path / "red" / "1.png", Image.fromarray(pixels), pixels[..., 0] > 0)
    found = red(fit="letterbox", fill=(1.0, 0.0, 0.0)).dissect(tmp_path, quantile=0.2)
    assert found.iou[0, 1] == pytest.approx(48 / 128)


def test_a_channel_that_is_the_same_everywhere_detects_nothing(tmp_path: Path) -> None:
    save(tmp_path / "all" / "1.png", noise(1, (32, 32)))
    model = Red().eval()
    model.conv.bias = nn.Parameter(torch.tensor([0.0, 0.0, 3.0]))
    assert red(model).dissect(tmp_path, quantile=0.2).name(2) is None


def test_two_masks_of_one_concept_in_one_photo_are_one_region(tmp_path: Path) -> None:
    photo, at_red, at_blue = squares(0, (32, 32))
    save(tmp_path / "c" / "square" / "1.png", photo, at_red)
    save(tmp_path / "c" / "square" / "2.png", photo, at_blue)
    concepts = gs.Concepts.read(tmp_path / "c")
    assert len(concepts.photos) == 1
    found = red().dissect(concepts, quantile=0.2)
    assert found.areas[0] == pytest.approx((at_red | at_blue).mean())
    assert found.counts.tolist() == [1]


def test_a_mask_is_read_where_its_photo_is_cut(tmp_path: Path) -> None:
    photo, at_red, _ = squares(0)
    path = save(tmp_path / "1.png", photo, at_red)
    placement = gs.Preprocess(size=(32, 32), resize=64).place(photo)[1]
    region = Label(0, path, path.with_suffix(".mask.png")).region(placement, (32, 32))
    np.testing.assert_array_equal(region, at_red[16:48, 16:48])
    ones = Image.fromarray(at_red.astype(np.uint8))
    ones.save(path.with_suffix(".mask.png"))  # 0 and 1
    np.testing.assert_array_equal(Label(0, path, path.with_suffix(".mask.png")).region(placement, (32, 32)), region)
    noise(0, (30, 64)).save(path.with_suffix(".mask.png"))
    with pytest.raises(ImageError, match="64 x 30 pixels, its photo 64 x 64: a mask must have the shape"):
        Label(0, path, path.with_suffix(".mask.png")).region(placement, (32, 32))


def test_one_name_in_two_categories_says_which(tmp_path: Path) -> None:
    for category in ("colour", "fruit"):
        save(tmp_path / category / "orange" / "1.png", noise(1))
    save(tmp_path / "fruit" / "pear" / "1.png", noise(2))
    assert gs.Concepts.read(tmp_path).names == ("orange (colour)", "orange (fruit)", "pear")


def test_a_folder_of_another_layout_is_refused_in_words(tmp_path: Path) -> None:
    def refused(text: str) -> None:
        with pytest.raises(InvalidArgument, match=text):
            gs.Concepts.read(tmp_path / "c")

    refused("there is no folder")
    (tmp_path / "c").mkdir()
    refused("holds no folder of a concept")
    (tmp_path / "c" / "red").mkdir()
    (tmp_path / "c" / ".hidden").mkdir()
    refused("red' holds no photo")
    save(tmp_path / "c" / "red" / "1.mask.png", noise(1))
    refused("holds no photo")
    save(tmp_path / "c" / "red" / "2.png", noise(1))
    refused("must lie beside one photo that is called 1. There is none")
    for suffix in ("jpg", "png"):
        save(tmp_path / "c" / "red" / f"1.{suffix}", noise(1))
    refused("There are 2; rename all but one")
    save(tmp_path / "c" / "red" / "deep" / "1.png", noise(1))
    refused("must be a concept or a category")
    save(tmp_path / "c" / "1.png", noise(1))
    refused("belong to no concept")


def test_what_cannot_be_dissected(explainer: gs.Explainer, concepts: Path) -> None:
    with pytest.raises(
        InvalidArgument, match=r"at least one position of the layer's 8 x 8 in 6 photo\(s\), 384 in all"
    ):
        explainer.dissect(concepts, quantile=0.002)
    for wrong in (0, 1.0, True):
        with pytest.raises(InvalidArgument, match="`quantile` must be a number above 0 and"):
            explainer.dissect(concepts, quantile=wrong)
    with pytest.raises(InvalidType, match="`concepts` must be"):
        explainer.dissect([concepts])
    with pytest.raises(InvalidArgument, match="`layer` must be one layer here"):
        explainer.dissect(concepts, layer=["2", "4"])
    (concepts / "colour" / "red" / "1.png").write_bytes(b"damaged")
    with pytest.raises(ImageError, match=r"red/1\.png"):
        explainer.dissect(concepts)
    sizes = gs.Explainer(toys.convolutional(), layer="4", preprocess=gs.Preprocess(fit="keep"), batch_size=1)
    save(concepts / "colour" / "red" / "1.png", noise(1, (40, 20)))
    with pytest.raises(InvalidArgument, match="pictures of several sizes"):
        sizes.dissect(concepts, quantile=0.06)


def test_a_layer_without_rows_and_columns_is_refused() -> None:
    look = activations.Activations("l", np.zeros((1, 3, 5)), ())
    with pytest.raises(ModelError, match="'l' has 1 axes of positions"):
        activations.Batches(lambda photos: look, [], 1)._checked(look)


# Exciting photos


def test_the_most_exciting_photos_and_where(tmp_path: Path) -> None:
    paths = []
    for i, size in enumerate([(64, 64), (64, 128), (128, 64), (64, 64)]):
        pixels = np.full((*size, 3), 20, np.uint8)
        if i < 3:
            pixels[32:48, 32:48] = (100 + 40 * i, 0, 0)
        paths.append(save(tmp_path / f"{i}.png", Image.fromarray(pixels)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = red(fit="squash").top_activating([*paths, str(tmp_path / "broken.png")], [0, 2], k=2)
    assert [x.path.name for x in found[0]] == ["2.png", "1.png"]
    seen = red(fit="squash")._activations(None)([Image.open(paths[2])]).values[0, 0]
    assert found[0][0].activation == pytest.approx(seen.max())
    np.testing.assert_array_equal(found[0][0].map, seen)
    top, left = found[0][0].peak
    assert 32 <= top < 48
    assert 32 <= left < 48
    assert found[2] == ()  # dead: no photo excites it
    assert found.layer == "conv"
    assert len(found.failed) == 1
    assert "broken.png" in found.failed[0]
    drawn = np.asarray(found[0][1].drawn(found[0][1].activation)).astype(int)
    assert drawn.shape == (128, 128, 3)  # a photo of 64 x 128, filled up to the shape of the model's input
    assert (drawn[:30] == 255).all()
    assert drawn[32 + 40, 40].sum() > drawn[32 + 8, 100].sum() + 200
    picture = found.figure(remarks={0: ["red, IoU 0.12"]}, height=60)
    assert picture.width > 2 * 60
    assert picture.height > 60


def test_of_equal_maxima_the_larger_mean_excites_more(tmp_path: Path) -> None:
    paths = []
    for i, side in enumerate((8, 24, 16)):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:side, :side, 0] = 255
        paths.append(save(tmp_path / f"{i}.png", Image.fromarray(pixels)))
    assert [x.path.name for x in red().top_activating(paths, [0], k=2)[0]] == ["1.png", "2.png"]


def test_what_cannot_excite(tmp_path: Path) -> None:
    path = save(tmp_path / "1.png", noise(1))
    with pytest.raises(ImageError, match=r"nothere\.png"):
        red().top_activating([tmp_path / "nothere.png"], [0])
    with pytest.raises(InvalidArgument, match=r"`channels` of layer 'conv' are 0 to 2\. Received: 7"):
        red().top_activating([path], [1, 7])
    for channels in ([], [-1], ["red"]):
        with pytest.raises(InvalidArgument, match="`channels` must be numbers"):
            red().top_activating([path], channels)
    with pytest.raises(InvalidType, match="must be a list of paths"):
        red().top_activating(str(path), [0])
    with pytest.raises(InvalidArgument, match="at least one path"):
        red().top_activating([], [0])
    with pytest.raises(InvalidArgument, match="`k` must be"):
        red().top_activating([path], [0], k=0)


# The command


def neurons(*arguments: object) -> Any:
    return run("neurons", "photo.png", "--model", MODEL, "--out", "out", "--class", "red", *arguments)


@pytest.fixture
def folder(here: Path) -> Path:
    """Concepts for the model of the command line's tests: red and blue squares with masks."""
    for i in range(8):
        photo, at_red, at_blue = squares(i, (256, 256))
        save(here / "concepts" / "red" / f"{i}.png", photo, at_red)
        save(here / "concepts" / "blue" / f"{i}.png", photo, at_blue)
    return here


def test_the_command_says_the_sentence_and_draws(folder: Path) -> None:
    result = neurons("--concepts", "concepts", "--count", 2, "--quantile", 0.05, "--size", 256)
    assert result.exit_code == 0
    assert result.stdout.startswith("red rested on red (channel 0).\n")
    assert "Note: 2 of 2 concepts have fewer than 10 photos" in result.stderr
    assert (folder / "out" / "photo.neurons.red.png").exists()
    again = neurons("--concepts", "out/dissection.npz", "--size", 256, "--images", "photo.png", "--json")
    assert (again.exit_code, again.stderr) == (0, "")
    (record,) = lines(again.stdout)
    assert record["sentence"] == "red rested on red (channel 0)."
    (first, *_) = record["positive"]
    assert (first["channel"], first["name"], record["layer"], record["file"]) == (
        *(0, "red", "block"),
        "photo.neurons.red.png",
    )
    assert first["examples"][0]["image"] == "photo.png"
    row, column = first["examples"][0]["peak"]
    assert 64 <= row < 192
    assert 256 <= column < 384


def test_the_command_without_names_and_its_mistakes(folder: Path) -> None:
    plain = neurons()
    assert plain.exit_code == 0
    assert "red rested on channel 0." in plain.stdout
    assert not (folder / "out").exists()
    Path("broken.png").write_bytes(b"no picture")
    broken = neurons("--images", "photo.png", "--images", "broken.png", "--json")
    assert (broken.exit_code, len(lines(broken.stdout))) == (1, 1)
    assert broken.stderr.startswith("Failed: 'broken.png' cannot be read")
    missing = neurons("--images", "photo.png", "--images", "nothere")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Failed: There is no file 'nothere'")
    assert (folder / "out" / "photo.neurons.red.png").exists()
    for wrong, text in (
        (("--concepts", "nothere"), "there is no folder 'nothere'"),
        (("--concepts", "photo.png"), "is not a dissection"),
        (("--by", "size"), "no order of channels"),
        (("--concepts", "concepts", "--quantile", "0.001"), "at least one position"),
        (("--layer", "nothere"), "nothere"),
    ):
        result = neurons(*wrong)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert text in result.stderr
    assert run("neurons", "concepts", "--model", MODEL).exit_code == 1
