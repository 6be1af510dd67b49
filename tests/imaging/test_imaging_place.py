"""What the model gets, and the way of a map back to the photo."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy import ndimage

from gradsight import limits
from gradsight.errors import ImageError, InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.imaging import Placement, Preprocess, Region, cut, region, resize
from gradsight.imaging.resample import product

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (max(1, height // 5), max(1, width // 5), 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


# ---- Preprocess


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
@pytest.mark.parametrize(
    ("image", "size", "shorter"),
    [
        ((301, 447), (224, 224), 256),
        ((447, 301), (224, 224), 256),
        ((97, 411), (61, 75), 83),
        ((333, 334), (224, 224), 224),
        ((300, 300), (224, 224), 227),  # half a pixel too many on each side: 1.5 is rounded to 2
        ((100, 101), (224, 224), 150),  # padded on all sides, by odd amounts
        ((60, 400), (99, 120), 70),  # padded above and below, cut at the sides
        ((400, 60), (99, 120), 77),
        ((1, 3), (7, 5), 6),
    ],
)
def test_crop_is_torchvisions(image: tuple[int, int], size: tuple[int, int], shorter: int, interpolation: str) -> None:
    pytest.importorskip("torchvision")
    from torchvision import transforms

    picture = noise(*image)
    theirs = transforms.Compose(
        [
            transforms.Resize(shorter, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(picture).numpy()
    ours = Preprocess(size=size, resize=shorter, interpolation=interpolation)(picture)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_squash_is_torchvisions_resize() -> None:
    pytest.importorskip("torchvision")
    from torchvision import transforms

    picture = noise(91, 203)
    theirs = transforms.Compose([transforms.Resize((75, 61)), transforms.ToTensor()])(picture).numpy()
    np.testing.assert_allclose(Preprocess((75, 61), fit="squash", **PLAIN)(picture), theirs, atol=1e-6)


def test_without_resize_the_picture_just_covers_the_crop() -> None:
    window, placement = Preprocess(size=(20, 30), **PLAIN).place(Image.new("RGB", (120, 60), (255, 0, 0)))
    np.testing.assert_array_equal(window[0], 1)
    assert placement.box == (0, 15, 60, 105)  # the smallest resized picture that covers the input


def test_letterbox_keeps_the_whole_picture_on_grey() -> None:
    preprocess = Preprocess(size=(40, 40), fit="letterbox", fill=0.25, **PLAIN)
    window, placement = preprocess.place(np.ones((30, 60, 3)))
    np.testing.assert_array_equal(window[:, 10:30], 1)
    np.testing.assert_allclose(window[:, [0, 9, 30, 39]], 0.25, atol=1 / 255)
    assert placement.box == (-15, 0, 45, 60)
    assert placement.seen == (0, 0, 30, 60)


def test_grey_models_get_one_channel() -> None:
    preprocess = Preprocess(size=(8, 9), fit="squash", mean=(0.5,), std=(0.25,))
    np.testing.assert_allclose(preprocess(np.full((5, 5, 3), 255, np.uint8)), np.full((1, 8, 9), 2.0))
    assert preprocess.window(np.zeros((5, 5))).mode == "L"


def test_normalisation_is_per_channel() -> None:
    preprocess = Preprocess(size=(2, 2), mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    pixel = preprocess(np.full((2, 2, 3), (51, 102, 153), np.uint8))[:, 0, 0]
    np.testing.assert_allclose(pixel, [0.2, 0.2, 0.15], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"size": (0, 5)}, InvalidArgument, "size"),
        ({"size": (5,)}, InvalidArgument, "size"),
        ({"resize": 0}, InvalidArgument, "resize"),
        ({"std": (1.0, 0.0, 1.0)}, InvalidArgument, "std"),
        ({"std": (1.0,)}, InvalidArgument, "`mean` and `std`"),
        ({"mean": (0.0, float("nan"), 0.0)}, InvalidArgument, "`mean` must be a number"),
        ({"fill": 1.5}, InvalidArgument, "fill"),
        ({"fit": "crp"}, UnknownName, "Did you mean 'crop'"),
        ({"interpolation": "bilinaer"}, UnknownName, "Did you mean 'bilinear'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dataclasses.replace(Preprocess(), **changes)


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (3, 90_000)])
def test_of_a_hair_only_what_is_seen_is_resized(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    resize = Image.Image.resize

    def counted(picture: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        largest.append(size[0] * size[1])
        return resize(picture, size, *args)

    monkeypatch.setattr(Image.Image, "resize", counted)
    ramp = np.linspace(0, 255, max(shape)).astype(np.uint8)
    picture = np.broadcast_to(ramp[:, None] if shape[0] > shape[1] else ramp, shape)
    made, placement = Preprocess(resize=256, **PLAIN).place(picture)
    assert largest == [224 * 224]
    # What is seen is a narrow part of the middle.
    np.testing.assert_allclose(made, 0.5, atol=0.01)
    assert all(abs(sum(placement.box[i::2]) - shape[i]) < 0.01 * min(shape) for i in range(2))


def _of_the_whole(preprocess: Preprocess, picture: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(cut, "_WHOLE", 10**9)
        return preprocess(picture)


@pytest.mark.parametrize("shape", [(40, 3000), (3000, 40)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_cut_out_alone_is_what_is_cut_out_of_the_whole(
    shape: tuple[int, int], interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess = Preprocess(resize=256, interpolation=interpolation, **PLAIN)
    whole = _of_the_whole(preprocess, noise(*shape), monkeypatch)
    monkeypatch.setattr(cut, "_WHOLE", 0)
    np.testing.assert_allclose(preprocess(noise(*shape)), whole, atol=0.03)


def test_a_gigantic_input_and_one_that_shows_nothing_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InvalidArgument, match=r"`size` is too large: 100000 x 100000 pixels.*GRADSIGHT_MAX_INPUT_PIXELS"
    ):
        Preprocess((100_000, 100_000), fit="squash")
    with pytest.raises(ImageError, match="100000 x 100000 pixels, over the limit"):
        Preprocess(fit="keep", multiple=100_000)(noise(5, 5))
    with pytest.raises(ImageError, match="letterbox"):
        Preprocess(resize=10**6)(noise(40, 40))
    monkeypatch.setattr(limits.PIXELS, "value", 100)
    with pytest.raises(ImageError, match="GRADSIGHT_MAX_PIXELS"):
        Preprocess((11, 10), fit="letterbox")(noise(5, 5))


# ---- there and back


def test_channels_last_is_the_same_array_turned() -> None:
    plain = Preprocess((30, 41), fit="letterbox", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    last, placement = dataclasses.replace(plain, channels_last=True).place(noise(50, 70))
    first, same = plain.place(noise(50, 70))
    np.testing.assert_array_equal(last, first.transpose(1, 2, 0))
    assert placement == same
    assert last.flags["C_CONTIGUOUS"]
    grey = Preprocess((30, 41), mean=(0.0,), std=(1.0,), channels_last=True)(noise(50, 70))
    assert grey.shape == (30, 41, 1)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_function_gets_the_fitted_picture_and_decides_its_values(channels_last: bool) -> None:
    seen: list[Any] = []

    def function(pixels: Any) -> Any:
        seen.append(pixels.copy())
        pixels /= 2  # as Keras's own do, in place
        return pixels[..., ::-1].astype(np.float64)

    settings = Preprocess((20, 28), fit="squash", channels_last=channels_last, function=function)
    made, placement = settings.place(noise(50, 70))
    window = np.asarray(settings.window(noise(50, 70)))
    assert (seen[0].dtype, seen[0].shape) == (np.float32, (20, 28, 3))
    np.testing.assert_array_equal(seen[0], window)
    expected = window[..., ::-1] / np.float32(2)
    np.testing.assert_array_equal(made, expected if channels_last else expected.transpose(2, 0, 1))
    assert made.dtype == np.float32
    assert placement.input_size == (20, 28)
    np.testing.assert_array_equal(settings(noise(50, 70)), made)  # the picture was not changed by the first time


def test_a_function_gets_grey_where_the_mean_is_one_value_and_may_return_other_channels() -> None:
    settings = Preprocess((9, 7), mean=(0.0,), std=(1.0,), function=lambda x: np.concatenate([x, -x], axis=2))
    made = settings(noise(30, 40))
    assert made.shape == (2, 9, 7)
    np.testing.assert_array_equal(made[0], np.asarray(settings.window(noise(30, 40))))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x[None], InvalidType, r"\(8, 8, channels\), without a batch axis.*\(1, 8, 8, 3\).*RGB in 0\.\.255"),
        (lambda x: x[1:], InvalidType, r"\(7, 8, 3\)"),
        (lambda x: x.transpose(2, 0, 1), InvalidType, r"\(3, 8, 8\)"),
        (lambda x: x[..., 0], InvalidType, r"\(8, 8\)"),
        (lambda x: None, InvalidType, "Received: None"),
        (lambda x: x.astype(str), InvalidType, "must return numbers"),
        (lambda x: x + np.nan, ModelError, "192 NaN or infinite values of 192"),
        (lambda x: x.no_such_thing, ModelError, "failed on a picture. AttributeError: .*RGB in 0"),
        (lambda: 0, ModelError, "takes 0 positional arguments"),
        ("xception", InvalidType, "`function` must be .*Received: 'xception'"),
    ],
)
def test_functions_that_do_not_do_are_one_line(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Preprocess((8, 8), function=function)(noise(20, 20))
    assert "\n" not in str(caught.value)


def test_an_error_that_a_function_raises_on_purpose_stays() -> None:
    def refuse(pixels: Any) -> Any:
        raise ImageError("too dark")

    with pytest.raises(ImageError, match=r"^too dark$"):
        Preprocess((8, 8), function=refuse)(noise(20, 20))


@pytest.mark.parametrize("size", [(224, 224), (161, 203)])
@pytest.mark.parametrize("image", [(301, 447), (447, 301), (333, 333), (150, 90)])
@pytest.mark.parametrize(
    "settings",
    [
        {"resize": 256},
        {"resize": 257, "rounding": "down"},
        {},
        {"fit": "squash"},
        {"fit": "squash", "resize": 250},
        {"fit": "letterbox", "fill": 0.0},
        {"fit": "letterbox", "fill": 0.0, "resize": 250},
        {"fit": "keep"},
        {"fit": "keep", "multiple": 32},
        {"fit": "none"},
        {"fit": "letterbox", "fill": 0.0, "rounding": "down"},
        {"fit": "letterbox", "fill": 0.0, "rounding": "even"},
    ],
)
def test_a_marked_square_comes_back_to_its_place(
    settings: dict[str, Any], image: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = image
    top, left, bottom, right = height // 2 - 21, width // 2 - 13, height // 2 + 12, width // 2 + 28
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top:bottom, left:right] = 255
    window, placement = Preprocess(size=size, **settings, **PLAIN).place(picture)
    heat = placement.to_image(window[0])
    assert heat.shape == image
    found = heat >= 0.5
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    box = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    assert np.abs(np.subtract(box, (top, left, bottom, right))).max() <= 1
    # Sharper than the edges: the centre of mass, to a fifth of a pixel.
    weights = heat / heat.sum()
    centre = (weights.sum(1) @ np.arange(height), weights.sum(0) @ np.arange(width))
    np.testing.assert_allclose(centre, ((top + bottom - 1) / 2, (left + right - 1) / 2), atol=0.2)


def test_what_the_crop_left_out_is_zero_and_the_rest_is_not() -> None:
    _, placement = Preprocess(size=(20, 20), resize=30).place(np.zeros((60, 90, 3)))
    heat = placement.to_image(np.ones((3, 7, 7)))
    top, left, bottom, right = placement.seen
    assert (top, left, bottom, right) == (10, 24, 50, 64)
    expected = np.zeros((60, 90))
    expected[top:bottom, left:right] = 1
    np.testing.assert_allclose(heat, np.broadcast_to(expected, (3, 60, 90)), atol=1e-12)


def test_to_image_is_the_resize_when_the_whole_picture_was_seen() -> None:
    heat = np.random.default_rng(0).random((2, 5, 7)).astype(np.float32)
    back = Placement.whole((33, 40), (224, 224)).to_image(heat)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, resize(heat, (33, 40)), atol=1e-6)


def test_nan_does_not_spread_over_the_picture() -> None:
    heat = np.ones((4, 4))
    heat[0, 0] = np.nan
    back = Placement.whole((40, 40), (4, 4)).to_image(heat)
    assert back[0, 0] == 0
    np.testing.assert_allclose(back[15:], 1)


def test_pictures_that_keep_their_proportions() -> None:
    settings = Preprocess((200, 300), fit="keep", rounding="down", **PLAIN)
    for image, size in (
        ((100, 120), (200, 240)),
        ((100, 300), (100, 300)),
        ((900, 300), (300, 100)),
        ((301, 150), (301, 150)),
    ):
        window, placement = settings.place(np.zeros((*image, 3), np.uint8))
        assert window.shape[1:] == placement.input_size == size
    assert Preprocess((200, 300), fit="keep", multiple=32).place(np.zeros((100, 120, 3)))[1].input_size == (192, 224)


def test_a_picture_as_it_is() -> None:
    photo = noise(61, 83)
    window, placement = Preprocess(fit="none", **PLAIN).place(photo)
    np.testing.assert_array_equal(window, np.asarray(photo, np.float32).transpose(2, 0, 1) / np.float32(255))
    assert placement == Placement.whole((61, 83), (61, 83))


@pytest.mark.parametrize("image", [(97, 131), (233, 447), (150, 101), (64, 64)])
def test_borders_are_those_of_pillow(image: tuple[int, int]) -> None:
    photo = noise(*image)
    theirs = ImageOps.pad(photo, (95, 90), color=(128, 128, 128))
    ours = Preprocess((90, 95), fit="letterbox", interpolation="bicubic", rounding="even", **PLAIN).window(photo)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_sides_of_a_letterbox_are_rounded_down() -> None:
    window = Preprocess((100, 100), fit="letterbox", rounding="down").window(np.full((67, 120, 3), 255, np.uint8))
    assert (np.asarray(window)[:, 50, 0] == 255).sum() == 55  # of 55.8
    # where the scale makes it whole, rounding errors must not cost a pixel
    for side in range(30, 300, 7):
        assert Preprocess((99, 99), fit="letterbox", rounding="down").place(np.zeros((side, side, 3)))[1].box[0] == 0


def test_the_record_holds_plain_values() -> None:
    settings = Preprocess((8, 9), resize=16, mean=(np.float64(0.5),), std=(0.25,), assumed=("mean",))
    record = json.loads(json.dumps(settings.record()))
    assert (record["size"], record["fit"], record["crop"], record["mean"], record["std"]) == (
        [8, 9],
        "crop",
        0.5,
        [0.5],
        [0.25],
    )
    assert (record["assumed"], record["assumed_parts"], record["function"]) == (True, ["mean"], None)
    other = Preprocess(fit="none", function=np.asarray).record()
    assert (other["size"], other["crop"], other["mean"], other["function"]) == (None, None, None, "numpy.asarray")
    assert other["assumed"] is False
    assert Preprocess(assumed=("size",)) == Preprocess()
    with pytest.raises(UnknownName, match="part of a preprocessing 'sise'"):
        Preprocess(assumed=("sise",))


def test_a_letterbox_of_a_colour() -> None:
    window = Preprocess((8, 8), fit="letterbox", fill=(0.0, 0.2, 1.0)).window(np.full((4, 8, 3), 255, np.uint8))
    assert window.getpixel((0, 0)) == (0, 51, 255)
    assert window.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": "kept"}, "'keep'"),
        ({"rounding": "up"}, "nearest"),
        ({"multiple": 0}, "`multiple` must be"),
        ({"fill": (0.1, 0.2)}, "as many as `mean`|three of them"),
        ({"fill": (0.1, 0.2, 1.2)}, "`fill` must be a number from 0 to 1"),
    ],
)
def test_settings_that_break_the_rules(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidArgument, UnknownName), match=message):
        Preprocess(**settings)


sides = st.integers(1, 400)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.sampled_from(["crop", "squash", "letterbox"]), st.tuples(*[st.integers(1, 60)] * 2))
def test_positions_go_there_and_back(image: tuple[int, int], fit: str, size: tuple[int, int]) -> None:
    _, placement = Preprocess(size=size, fit=fit).place(np.zeros((*image, 3), np.uint8))
    np.testing.assert_allclose(placement.to_input(*placement.to_pixel(3.0, 5.0)), (3, 5), atol=1e-6)
    first, last = placement.to_pixel(-0.5, -0.5), placement.to_pixel(size[0] - 0.5, size[1] - 0.5)
    np.testing.assert_allclose((*first, *last), np.subtract(placement.box, 0.5), atol=1e-6)
    top, left, bottom, right = placement.seen
    assert 0 <= top < bottom <= image[0]
    assert 0 <= left < right <= image[1]


def test_impossible_placements_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="box"):
        Placement((5, 5), (2, 2), (3.0, 0.0, 3.0, 5.0))
    with pytest.raises(InvalidArgument, match="image_size"):
        Placement.whole((0, 5), (2, 2))
    with pytest.raises(InvalidArgument, match=r"\(\.\.\., h, w\)"):
        Placement.whole((5, 5), (2, 2)).to_image(np.zeros(4))
    with pytest.raises(InvalidArgument, match="not empty"):
        Placement.whole((5, 5), (2, 2)).to_image(np.zeros((4, 0)))


# ---- resize


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [
        ((2, 3, 7), (50,), "linear"),
        ((2, 3, 7, 5), (61, 48), "bilinear"),
        ((1, 2, 9, 9), (4, 3), "bilinear"),
        ((1, 2, 1, 6), (5, 6), "bilinear"),
        ((2, 1, 3, 4, 5), (7, 9, 11), "trilinear"),
    ],
)
def test_resize_is_torchs(shape: tuple[int, ...], size: tuple[int, ...], mode: str) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=shape)
    for dtype in (np.float64, np.float32):
        ours = resize(values.astype(dtype), size)
        theirs = torch.nn.functional.interpolate(torch.from_numpy(values.astype(dtype)), size, mode=mode)
        assert ours.dtype == dtype
        # Where between two values a place lies is as exact as its coordinate, of at most the larger size.
        exact = np.finfo(dtype).eps * max(*size, *shape) * np.ptp(values)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=exact)


def test_resize_to_the_same_size_changes_nothing() -> None:
    values = np.random.default_rng(2).random((3, 6, 8))
    np.testing.assert_array_equal(resize(values, (6, 8)), values)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.integers(1, 40))
def test_resize_invents_no_values(values: list[float], size: int) -> None:
    found = resize(np.array(values), [size])
    assert min(values) - 1e-9 <= found.min() <= found.max() <= max(values) + 1e-9


@pytest.mark.parametrize("size", [(), (0, 4), (1, 2, 3, 4)])
def test_wrong_sizes_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="size"):
        resize(np.zeros((2, 3, 4, 5)), size)


def test_too_few_axes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="2 axes"):
        resize(np.zeros(4), (2, 2))


# ---- region


def test_region_of_two_blobs() -> None:
    heat = np.zeros((20, 30))
    heat[3:7, 5:9] = 0.6
    heat[4, 6] = 0.8
    heat[12:18, 20:25] = 0.5
    heat[10, 1] = 0.3
    assert region(heat) == Region(peak=(4, 6), box=(3, 5, 7, 9), area=46 / 600)
    assert region(heat, threshold=0.3) == Region(peak=(4, 6), box=(3, 5, 7, 9), area=47 / 600)
    assert region(heat, threshold=1.0) == Region(peak=(4, 6), box=(4, 6, 5, 7), area=1 / 600)


def test_pixels_that_touch_at_a_corner_are_connected() -> None:
    found = region(np.eye(4))
    assert found is not None
    assert found.box == (0, 0, 4, 4)


def test_the_peak_of_a_plateau_is_its_middle() -> None:
    heat = np.zeros((11, 11))
    heat[2:7, 4:9] = 1
    found = region(heat)
    assert found is not None
    assert found.peak == (4, 6)
    ring = heat.copy()
    ring[3:6, 5:8] = 0.9
    hollow = region(ring)
    assert hollow is not None
    assert ring[hollow.peak] == 1


def test_constant_and_empty_maps() -> None:
    assert region(np.ones((5, 7))) == Region((2, 3), (0, 0, 5, 7), 1.0)
    assert region(np.zeros((5, 7))) is None
    assert region(np.full((5, 7), np.nan)) is None
    heat = np.full((5, 7), np.nan)
    heat[1, 2] = 0.4
    assert region(heat) == Region((1, 2), (1, 2, 2, 3), 1 / 35)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_the_peak_lies_in_the_box(seed: int, threshold: float) -> None:
    heat = np.random.default_rng(seed).random((9, 13)).astype(np.float32)
    found = region(heat, threshold)
    assert found is not None
    assert heat[found.peak] == heat.max()
    top, left, bottom, right = found.box
    assert top <= found.peak[0] < bottom
    assert left <= found.peak[1] < right
    hot = heat >= threshold * heat.max()
    labels, _ = ndimage.label(hot, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(labels == labels[found.peak])
    assert found.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert found.area == hot.mean()


def test_wrong_maps_and_thresholds_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="heatmap"):
        region(np.zeros((2, 3, 4, 5)))
    with pytest.raises(InvalidArgument, match="threshold"):
        region(np.ones((3, 4)), 0.0)


@pytest.mark.parametrize(
    ("shape", "axis", "new"), [((7, 500), 0, 375), ((3, 60, 900), 1, 40), ((900, 224), 1, 500), ((5, 9), 0, 3)]
)
def test_no_product_is_large_enough_to_wake_other_threads(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], axis: int, new: int
) -> None:
    """OpenBLAS's threads spin for work once they are awake, beside those of the model."""
    rng = np.random.default_rng(0)
    matrix, values = rng.random((new, shape[axis])), rng.random(shape, np.float32)
    sizes: list[int] = []
    multiply = np.matmul

    def counted(left: Any, right: Any, out: Any = None) -> Any:
        sizes.append(left.shape[-2] * left.shape[-1] * right.shape[-1])
        return multiply(left, right, out=out)

    monkeypatch.setattr(np, "matmul", counted)
    made = product(matrix, values, axis)
    assert sizes
    assert max(sizes) <= 4 * 65536  # below it OpenBLAS stays on the thread that asks
    assert sum(sizes) * (shape[0] if len(shape) == 3 else 1) == math.prod(shape) * new
    np.testing.assert_allclose(made, np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis), rtol=1e-5)
