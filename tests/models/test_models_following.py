"""Functions of a photo as ``preprocess``: their own pixels reach the model, and maps find their place on the photo."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm.data
import torch
import transformers
from PIL import Image, ImageOps
from torch import nn
from torchvision import models, transforms
from torchvision.transforms import v2

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, ModelError
from gradsight.models.following.follow import Followed, follow
from gradsight.models.load import load_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TO = (transforms.ToTensor(), transforms.Normalize(MEAN, STD))
BICUBIC = transforms.InterpolationMode.BICUBIC
Compose = transforms.Compose


def squash(picture: Any) -> np.ndarray:
    """OpenCV's resize, which weighs no more than four pixels: (h, w, c)."""
    return cv2.resize(np.asarray(picture), (112, 96)).astype(np.float64) / 127.5 - 1


def picked(picture: Any) -> np.ndarray:
    """The nearest pixel below, as loops written by hand have it."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    return pixels[np.arange(96) * height // 96][:, np.arange(96) * width // 96] / 255


def letterbox(picture: Image.Image) -> np.ndarray:
    scale = 120 / max(picture.size)
    sides = [round(side * scale) for side in picture.size]
    canvas = Image.new("RGB", (120, 120), (114, 114, 114))
    canvas.paste(picture.resize(sides, Image.Resampling.BILINEAR), ((120 - sides[0]) // 2, (120 - sides[1]) // 2))
    return np.asarray(canvas, np.float32).transpose(2, 0, 1) / 255


def of_opencv(picture: Any) -> np.ndarray:
    """BGR on a grey border, whose sides are rounded down, with a batch axis."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    scale = min(100 / height, 130 / width)
    down, across = int(height * scale), int(width * scale)
    top, left = (100 - down) // 2, (130 - across) // 2
    sides = (top, 100 - down - top, left, 130 - across - left)
    made = cv2.copyMakeBorder(cv2.resize(pixels, (across, down)), *sides, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    return made[None, ..., ::-1].transpose(0, 3, 1, 2) / 255.0


def tensors(tensor: torch.Tensor) -> torch.Tensor:
    """For a tensor (3, h, w) in [0, 1], and nothing else."""
    assert tensor.is_floating_point()
    return nn.functional.interpolate(tensor[None], (90, 110), mode="bilinear", antialias=True) * 2 - 1


def writing(picture: Any) -> np.ndarray:
    """Writes into what it is given."""
    pixels = np.asarray(picture)
    made = cv2.resize(pixels, (64, 64)) / 255
    if isinstance(picture, np.ndarray):
        picture[:] = 0
    else:
        picture.paste((0, 0, 0), (0, 0, *picture.size))
    return made


class Augmented:
    """As albumentations call: by name, and a dict comes back."""

    def __call__(self, *, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": cv2.resize(image, (88, 72)) / 255}


def no_larger(limit: int) -> Callable[[Image.Image], np.ndarray]:
    """In its own proportions, the longer side at a limit."""

    def function(picture: Image.Image) -> np.ndarray:
        scale = limit / max(picture.size)
        return np.asarray(picture.resize([max(1, round(side * scale)) for side in picture.size])) / 255

    return function


FUNCTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "resize, crop": (
        Compose([transforms.Resize(128), transforms.CenterCrop(112), *TO]),
        {"size": (112, 112), "fit": "crop", "resize": 128, "interpolation": "bilinear", "mean": MEAN, "std": STD},
    ),
    "a crop that is no square": (
        Compose([transforms.Resize(120, BICUBIC), transforms.CenterCrop((96, 112)), transforms.ToTensor()]),
        {"size": (96, 112), "fit": "crop", "resize": 120, "interpolation": "bicubic", "mean": (0,) * 3},
    ),
    "squash, then crop": (
        Compose([transforms.Resize((128, 128)), transforms.CenterCrop(112), *TO]),
        {"size": (112, 112), "fit": "squash", "resize": 128},
    ),
    "grey": (
        Compose([transforms.Grayscale(), transforms.Resize((56, 64)), transforms.ToTensor()]),
        {"size": (56, 64), "fit": "squash", "mean": (0.0,), "std": (1.0,)},
    ),
    "tensors first": (
        Compose([transforms.ToTensor(), transforms.Resize((90, 80), antialias=True), TO[1]]),
        {"size": (90, 80), "fit": "squash", "mean": MEAN},
    ),
    "v2": (
        v2.Compose([v2.ToImage(), v2.Resize(100), v2.CenterCrop(96), v2.ToDtype(torch.float32, scale=True)]),
        {"size": (96, 96), "fit": "crop", "resize": 100},
    ),
    # PIL images pass through the middle of it, and arrays through all of it: it is for tensors
    "v2 of tensors": (
        v2.Compose([v2.Resize(100), v2.CenterCrop(96), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]),
        {"size": (96, 96), "fit": "crop", "resize": 100, "mean": MEAN},
    ),
    "the shorter side only": (Compose([transforms.Resize(80), transforms.ToTensor()]), {"fit": "keep"}),
    "the longer side only": (no_larger(150), {"fit": "keep", "size": (150, 150)}),
    "torchvision's weights": (
        models.ResNet18_Weights.DEFAULT.transforms(),
        {"size": (224, 224), "fit": "crop", "resize": 256, "mean": MEAN, "std": STD},
    ),
    "timm": (timm.data.create_transform(96, is_training=False), {"size": (96, 96), "interpolation": "bilinear"}),
    "timm, a border": (
        timm.data.create_transform(96, is_training=False, crop_mode="border", crop_pct=0.9),
        {"size": (96, 96), "fit": "letterbox", "resize": 106},
    ),
    "transformers": (
        transformers.ViTImageProcessorPil(size={"height": 70, "width": 90}),
        {"size": (70, 90), "fit": "squash", "mean": (0.5,) * 3},
    ),
    "OpenCV": (squash, {"size": (96, 112), "fit": "squash", "mean": (0.5,) * 3, "std": (0.5,) * 3}),
    "picked pixels": (picked, {"size": (96, 96), "fit": "squash"}),
    "letterbox": (letterbox, {"size": (120, 120), "fit": "letterbox", "resize": None, "fill": (114 / 255,) * 3}),
    "letterbox in BGR": (of_opencv, {"size": (100, 130), "fit": "letterbox", "rounding": "down"}),
    "Pillow's pad": (lambda x: np.asarray(ImageOps.pad(x, (90, 90))) / 255, {"fit": "letterbox", "rounding": "even"}),
    "Pillow's fit": (lambda x: np.asarray(ImageOps.fit(x, (90, 70))) / 255, {"size": (70, 90), "fit": "crop"}),
    "tensors": (tensors, {"size": (90, 110), "fit": "squash", "mean": (0.5,) * 3, "std": (0.5,) * 3}),
    "as albumentations": (Augmented(), {"size": (72, 88), "fit": "squash"}),
    "inverted": (lambda x: 1 - np.asarray(x.resize((64, 64))) / 255, {"size": (64, 64), "fit": "squash"}),
    "raw values": (lambda x: np.array(x.resize((64, 48))), {"size": (48, 64), "std": (1 / 255,) * 3}),
    "no resizing": (Compose(list(TO)), {"fit": "none", "mean": MEAN, "std": STD}),
    "writes": (writing, {"size": (64, 64), "fit": "squash"}),
}


@cache
def followed(name: str) -> Followed:
    return follow(FUNCTIONS[name][0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_preprocess_that_does_the_same_is_found(name: str) -> None:
    expected, found = FUNCTIONS[name][1], followed(name)
    for field, value in expected.items():
        got = getattr(found.way, field)
        assert got == (pytest.approx(value, abs=2e-6) if field in ("mean", "std", "fill") else value), field
    assert not found.assumed


def marked(height: int, width: int) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A grey photo with a bright square, which is nowhere near the middle of an axis."""
    box = (height // 2 - 21, width // 2 - 13, height // 2 + 12, width // 2 + 28)
    pixels = np.full((height, width, 3), 60, np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = 240
    return Image.fromarray(pixels), box


@pytest.mark.parametrize("sides", [(201, 277), (303, 187), (131, 409)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_marked_square_comes_back_to_its_place(name: str, sides: tuple[int, int]) -> None:
    photo, expected = marked(*sides)
    before = photo.tobytes()
    made, placement = followed(name).place(photo)
    assert photo.tobytes() == before
    assert made.dtype == np.float32
    assert made.shape[1:] == placement.input_size
    made = made - np.median(made, axis=(1, 2), keepdims=True)
    heat = placement.to_image(np.abs(made).mean(0) if name != "letterbox in BGR" else made.mean(0))
    top, left, bottom, right = placement.seen
    heat[:top], heat[bottom:], heat[:, :left], heat[:, right:] = 0, 0, 0, 0
    inside = heat >= heat[expected[0] + 10, expected[1] + 10] / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    found = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    # to a pixel of the photo, or of the model's input where that is the coarser one
    pixel = [max(1.0, (placement.box[i + 2] - placement.box[i]) / placement.input_size[i]) for i in range(2)]
    by_another_rounding = name in ("picked pixels", "Pillow's fit")
    off = np.abs(np.subtract(found, expected)) / np.array(pixel * 2)
    assert off.max() <= (2 if by_another_rounding else 1) + 0.01, (found, expected)


@pytest.mark.parametrize("name", ["resize, crop", "OpenCV", "letterbox in BGR", "tensors", "grey"])
def test_the_model_gets_the_function_s_own_pixels(name: str) -> None:
    function = FUNCTIONS[name][0]
    photo = Image.fromarray(np.random.default_rng(3).integers(0, 256, (173, 219, 3), dtype=np.uint8)).resize((301, 222))
    given = torch.from_numpy(np.array(photo)).permute(2, 0, 1) * np.float32(1 / 255) if name == "tensors" else photo
    own = np.asarray(function(given), dtype=np.float32).squeeze()
    own = own.transpose(2, 0, 1) if own.shape[-1] == 3 else own
    found = followed(name)
    np.testing.assert_array_equal(found(photo).squeeze(), own)
    np.testing.assert_array_equal(
        found.laid_out(True)(photo).squeeze(), own if own.ndim == 2 else own.transpose(1, 2, 0)
    )


def bright() -> nn.Module:
    """Its layer "0" is how bright the picture is, and its score the mean of that."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.fill_(7.0)
    return model.eval()


@pytest.mark.parametrize("name", ["resize, crop", "OpenCV", "letterbox", "no resizing", "the shorter side only"])
def test_through_an_explainer_the_map_lies_on_the_square(name: str) -> None:
    photo, expected = marked(201, 277)
    explanation = gs.Explainer(bright(), preprocess=FUNCTIONS[name][0], layer="0", method="hirescam", targets=0)(photo)
    heat = explanation.on_photo()
    top, left, bottom, right = explanation.placements[0].seen
    heat = np.where(heat > 0, heat - np.median(heat[top:bottom, left:right]), 0)
    inside = heat >= heat.max() / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert np.abs(np.subtract((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), expected)).max() <= 2
    record = explanation.record().preprocess
    assert record["fit"] == FUNCTIONS[name][1]["fit"]
    assert not record["assumed"]
    assert not [note for note in explanation.notes if "assumed" in note]


def test_the_function_is_named_in_the_record() -> None:
    explainer = gs.Explainer(toys.convolutional(), preprocess=squash)
    assert explainer(marked(97, 131)[0]).preprocess["function"] == f"{__name__}.squash"


# Refused

TO_TENSOR = transforms.ToTensor()


def turned(degrees: float) -> Callable[[Image.Image], Any]:
    return lambda picture: np.asarray(picture.resize((96, 96)).rotate(degrees, Image.Resampling.BILINEAR)) / 255


def perspective(picture: Image.Image) -> torch.Tensor:
    corners = [[0, 0], [95, 0], [95, 95], [0, 95]]
    bent = transforms.functional.perspective(picture.resize((96, 96)), corners, [[9, 5], [88, 0], *corners[2:]])
    return TO_TENSOR(bent)


def waved(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture.resize((96, 96)))
    shift = (4 * np.sin(np.arange(96) / 8)).round().astype(int)
    return np.stack([np.roll(row, by, axis=0) for row, by in zip(pixels, shift, strict=True)]) / 255


def standardised(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture.resize((64, 64)), dtype=np.float64)
    return (pixels - pixels.mean()) / (pixels.std() + 1)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "random crop": (
        Compose([transforms.Resize(96), transforms.RandomCrop(80), TO_TENSOR]),
        InvalidArgument,
        "two runs",
    ),
    "flip": (
        Compose([transforms.Resize((64, 64)), transforms.RandomHorizontalFlip(), TO_TENSOR]),
        InvalidArgument,
        "two runs of this one differ",
    ),
    "seldom random": (
        Compose([transforms.Resize((64, 64)), transforms.RandomGrayscale(0.1), TO_TENSOR]),
        InvalidArgument,
        "random augmentation",
    ),
    "rotation": (turned(10), InvalidArgument, "turns or bends"),
    "small rotation": (turned(2), InvalidArgument, "The closest, gs.Preprocess(size=(96, 96), fit='squash'"),
    "quarter turn": (turned(90), InvalidArgument, "swaps sides"),
    "mirrored": (lambda x: np.asarray(x.resize((64, 64)))[:, ::-1] / 255, InvalidArgument, "mirrors"),
    "perspective": (perspective, InvalidArgument, "turns or bends"),
    "waves": (waved, InvalidArgument, "The closest, gs.Preprocess(size=(96, 96), fit='squash'"),
    "a corner": (lambda x: np.asarray(x.crop((0, 0, 64, 64))) / 255, InvalidArgument, "no gs.Preprocess"),
    "its own crop": (
        lambda x: np.asarray(x.crop((0, 0, x.width // 2, x.height)).resize((64, 64))) / 255,
        InvalidArgument,
        "no gs.Preprocess",
    ),
    "a crop two pixels off": (
        lambda x: np.asarray(ImageOps.fit(x, (100, 100)).crop((12, 10, 92, 90))) / 255,
        InvalidArgument,
        "The closest, gs.Preprocess(size=(80, 80), resize=100",
    ),
    "border at one side": (
        lambda x: np.asarray(ImageOps.expand(x.resize((80, 80)), (0, 0, 16, 16))) / 255,
        InvalidArgument,
        "The closest, gs.Preprocess(size=(96, 96)",
    ),
    "gamma": (lambda x: (np.asarray(x.resize((64, 64))) / 255) ** 0.5, InvalidArgument, "a mean and std"),
    "by the picture": (standardised, InvalidArgument, "no gs.Preprocess"),
    "constant": (lambda x: np.zeros((3, 64, 64)), InvalidArgument, "does not follow the picture's pixels"),
    "a picture": (Compose([transforms.Resize((64, 64))]), InvalidType, "let it end in ToTensor()"),
    "five pictures": (
        Compose([transforms.Resize(96), transforms.FiveCrop(64), lambda x: torch.stack([TO_TENSOR(y) for y in x])]),
        InvalidType,
        "shape (5, 3, 64, 64)",
    ),
    "a path": (lambda x: TO_TENSOR(Image.open(x)), InvalidType, "a PIL image: "),
    "infinite": (lambda x: np.asarray(x) / np.float64(np.inf) * np.inf, InvalidType, "NaN or infinity"),
    "a number": (lambda x: 3, InvalidType, "int of shape ()"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_cannot_be_followed_is_refused_in_words(name: str) -> None:
    function, kind, words = REFUSED[name]
    with pytest.raises(kind) as caught:
        gs.Explainer(toys.convolutional(), preprocess=function)
    text = str(caught.value)
    assert words in text
    assert "Received: " in text
    assert "\n" not in text


def test_a_function_that_treats_some_photos_otherwise() -> None:
    def large_ones_turned(picture: Image.Image) -> np.ndarray:
        picture = picture.transpose(Image.Transpose.ROTATE_90) if picture.width > 1000 else picture
        return np.asarray(picture.resize((64, 64))) / 255

    def without_border(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.crop(picture.getbbox()).resize((64, 64))) / 255

    def small_ones_fail(picture: Image.Image) -> np.ndarray:
        if picture.width < 50:
            raise RuntimeError("too small")
        return np.asarray(picture.resize((64, 64))) / 255

    photo, _ = marked(120, 150)
    bordered = ImageOps.expand(photo, 80)
    for function, other, kind in (
        (large_ones_turned, photo.resize((1200, 700)), InvalidArgument),
        (without_border, bordered, InvalidArgument),
        (small_ones_fail, photo.resize((40, 60)), ModelError),
    ):
        explainer = gs.Explainer(toys.convolutional(), preprocess=function)
        assert explainer(photo).input_size == (64, 64)
        with pytest.raises(kind, match=r"`preprocess` (does something else to this photo|failed on a photo) of "):
            explainer(other)


def test_random_numbers_go_on_as_they_were() -> None:
    def drawing(picture: Image.Image) -> torch.Tensor:
        torch.rand(1)
        return TO_TENSOR(picture.resize((32, 32)))

    model = toys.convolutional()
    before = torch.get_rng_state()
    gs.Explainer(model, preprocess=drawing)(marked(97, 131)[0])
    assert torch.equal(before, torch.get_rng_state())


# Where else one may be given


SOURCE = """
    import numpy as np
    import gradsight as gs
    import toys

    def test(picture): return np.asarray(picture.resize((40, 48))).transpose(2, 0, 1) / 255
    def build(): return toys.convolutional(), test, None
    def plain(): return toys.convolutional(), gs.Preprocess((20, 24), fit="squash"), None
    def bad(): return toys.convolutional(), lambda picture: np.zeros((3, 9, 9)), None
"""


def test_a_model_s_function_may_return_one(folder: Any) -> None:
    folder.write("gradsight_test_followed", SOURCE)
    photo, _ = marked(97, 131)
    explanation = gs.explain(photo, gs.load_model("gradsight_test_followed:build"))
    assert explanation.input_size == (48, 40)
    assert explanation.preprocess["assumed"] is False
    with pytest.raises(InvalidArgument, match="does not follow"):
        gs.explain(photo, "gradsight_test_followed:bad")


def test_load_model_takes_one_in_place_of_the_source_s(folder: Any) -> None:
    folder.write("gradsight_test_followed", SOURCE)
    loaded = load_model("gradsight_test_followed:plain", preprocess="gradsight_test_followed:test")
    assert isinstance(loaded.preprocess, Followed)
    assert gs.explain(marked(97, 131)[0], loaded).input_size == (48, 40)
    with pytest.raises(InvalidArgument, match="size cannot be replaced"):
        load_model("gradsight_test_followed:plain", preprocess="gradsight_test_followed:test", size=20)


def test_one_that_leaves_the_size_alone_is_done_with_the_fitted_picture(folder: Any) -> None:
    folder.write("gradsight_test_followed", SOURCE)
    loaded = load_model("gradsight_test_followed:plain")
    photo, _ = marked(97, 131)
    explanation = gs.explain(photo, loaded, preprocess=Compose(list(TO)))
    assert (explanation.input_size, explanation.preprocess["function"]) == ((20, 24), "Compose")
    fitted = photo.resize((24, 20), Image.Resampling.BILINEAR)
    explainer = gs.Explainer(loaded, preprocess=Compose(list(TO)))
    np.testing.assert_array_equal(explainer.preprocess(photo), Compose(list(TO))(fitted).numpy())


def test_a_photo_on_disk(tmp_path: Path) -> None:
    photo, _ = marked(97, 131)
    photo.save(tmp_path / "photo.png")
    explainer = gs.Explainer(toys.convolutional(), preprocess=letterbox)
    np.testing.assert_array_equal(explainer(tmp_path / "photo.png").maps, explainer(photo).maps)
