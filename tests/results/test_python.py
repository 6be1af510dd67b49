"""What hands do with an explanation in Python: boxes, masks, pictures of the heat, figures, files, notebooks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gradsight as gs
from gradsight import imaging
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.results.example import example
from gradsight.results.explanations import Explanations
from gradsight.targets import TargetInfo

GREY = Image.new("RGB", (60, 40), (128, 128, 128))


def made(maps: Any, placement: gs.Placement, photo: Image.Image | None = None, **fields: Any) -> gs.Explanation:
    """An explanation of one photo whose map is given."""
    height, width = placement.image_size
    return replace(
        example(),
        maps=np.asarray(maps, np.float32)[None, None],
        input_size=placement.input_size,
        photos=(photo or Image.new("RGB", (width, height), (128, 128, 128)),),
        placements=(placement,),
        **fields,
    )


def spots(*places: tuple[int, int], size: tuple[int, int] = (4, 4)) -> np.ndarray:
    """A map that is 0 but for single positions."""
    found = np.zeros(size)
    for place in places:
        found[place] = 1
    return found


def placed(kind: str) -> gs.Placement:
    """Where the model's input of 40 x 40 lies on a photo of 40 x 80 (height x width)."""
    boxes = {
        "squash": (0, 0, 40, 80),
        "crop": (0, 20, 40, 60),
        "inner": (10, 20, 30, 60),
        "letterbox": (-20, 0, 60, 80),
    }
    return gs.Placement((40, 80), (40, 40), tuple(map(float, boxes[kind])))  # type: ignore[arg-type]


# Boxes and masks.


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [  # a cell of 4 x 4, and at half its height half of each cell beside it
        ("squash", (1, 2), (10, 40, 20, 60)),
        ("crop", (1, 2), (10, 40, 20, 50)),
        ("letterbox", (1, 2), (0, 40, 20, 60)),
    ],
)
def test_a_box_lies_where_the_map_is_hot_on_the_photo(kind: str, cell: tuple[int, int], expected: tuple) -> None:
    explanation = made(spots(cell), placed(kind))
    assert explanation.boxes() == (expected,)
    assert explanation.region().box == expected  # type: ignore[union-attr]
    rows, columns = np.nonzero(explanation.mask())
    assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == expected


@pytest.mark.parametrize("kind", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9, 1.0])
def test_a_mask_is_what_reaches_the_share_of_the_maximum(kind: str, threshold: float) -> None:
    explanation = made(np.random.default_rng(3).normal(size=(4, 4)), placed(kind))
    heat = explanation.on_photo(scale=1.0)  # 0 outside of what the model saw
    raw = explanation.placements[0].to_image(np.clip(explanation.maps[0, 0], 0, None))
    mask = explanation.mask(threshold=threshold)
    assert (mask.dtype, mask.shape) == (bool, (40, 80))
    np.testing.assert_array_equal(mask, raw >= threshold * raw.max())
    assert not mask[heat == 0].any()
    top, left, bottom, right = explanation.boxes(threshold=threshold)[0]
    assert mask[top:bottom, left:right].any()


def test_areas_are_counted_apart_the_largest_first() -> None:
    maps = np.zeros((8, 8))
    maps[0, 0] = 0.8
    maps[4:7, 4:7] = 0.7
    maps[1, 6] = 1
    explanation = made(maps, gs.Placement.whole((80, 80), (80, 80)))
    largest, *rest = explanation.boxes()
    assert largest == pytest.approx((38, 38, 72, 72), abs=3)
    assert len(rest) == 2
    assert sorted(box[0] < 10 and box[1] < 10 for box in rest) == [False, True]
    assert len(explanation.boxes(threshold=0.95)) == 1
    assert explanation.boxes(threshold=0.1) != explanation.boxes()


def test_areas_of_one_size_are_in_the_order_of_their_heat() -> None:
    heat = np.zeros((9, 9))
    heat[1, 1], heat[7, 7], heat[1, 7] = 0.8, 1.0, 0.9
    found = imaging.areas(heat)
    assert [area.peak for area in found] == [(7, 7), (1, 7), (1, 1)]
    assert [area.area for area in found] == [1 / 81] * 3


def test_nothing_hot_has_no_box_and_an_empty_mask() -> None:
    for values in (0.0, -1.0, np.nan):
        explanation = made(np.full((4, 4), values), placed("crop"))
        assert explanation.boxes() == ()
        assert not explanation.mask().any()
        assert explanation.heat_image().getextrema()[3] == (0, 0)


def test_a_large_photo_has_its_region_where_the_small_one_has_it() -> None:
    """It is found in a copy, and told in pixels of the photo; a mask is made of the photo's own pixels."""
    maps = spots((1, 4), size=(7, 7)) + 0.9 * spots((1, 5), size=(7, 7))
    small, large = (made(maps, gs.Placement.whole(size, (224, 224))) for size in ((300, 400), (1500, 2000)))
    for one, many in zip(small.boxes()[0], large.boxes()[0], strict=True):
        assert abs(5 * one - many) <= 5
    for one, many in zip(small.region().peak, large.region().peak, strict=True):  # type: ignore[union-attr]
        assert abs(5 * one + 2 - many) <= 5
    rows, columns = np.nonzero(large.mask())
    whole = np.array((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    assert np.abs(whole - large.boxes()[0]).max() <= 4


def test_a_signal_has_intervals_and_a_mask_of_samples() -> None:
    maps = np.array([0, 1, 0, 0, 0, 1, 1, 0], np.float32)
    signal = replace(example(), maps=maps[None, None], input_size=(80,), photos=(), placements=())
    (first, second), mask = signal.boxes(), signal.mask()
    assert (first, second) == ((50, 70), (10, 20))
    assert mask.shape == (80,)
    assert np.flatnonzero(np.diff(mask.astype(int))).tolist() == [9, 19, 49, 69]


# The heat alone.


@pytest.mark.parametrize("kind", ["squash", "crop", "inner", "letterbox"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_heat_laid_on_its_photo_is_the_overlay(kind: str, signed: bool) -> None:
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 80, 3), dtype=np.uint8))
    explanation = made(np.random.default_rng(2).normal(size=(4, 4)), placed(kind), photo)
    heat = explanation.heat_image(signed=signed)
    assert (heat.mode, heat.size) == ("RGBA", photo.size)
    laid = photo.convert("RGBA")
    laid.alpha_composite(heat)
    top, left, bottom, right = explanation.placements[0].seen
    seen = np.s_[top:bottom, left:right]
    drawn = np.asarray(explanation.overlay(signed=signed)).astype(int)
    assert np.abs(np.asarray(laid.convert("RGB")).astype(int) - drawn)[seen].max() <= 1
    outside = np.ones((40, 80), bool)
    outside[seen] = False
    assert not np.asarray(heat)[outside].any()


def test_without_a_photo_the_heat_is_as_large_as_the_input() -> None:
    arrays = replace(example(), photos=(), placements=())
    assert arrays.heat_image().size == (20, 20)
    assert arrays.figure(height=100).width < example().figure(height=100).width
    bare = np.asarray(arrays.figure(height=100)).astype(int)
    assert np.abs(bare - (244, 229, 40)).sum(2).min() < 120  # towards plasma's yellow
    with pytest.raises(InvalidArgument, match="no photo to draw on"):
        arrays.overlay()
    assert arrays.figure(photo=GREY).size == example().figure(photo=GREY).size


# Drawn in 8 bits.


def reference(photo: np.ndarray, heat: np.ndarray, signed: bool, opacity: float | str) -> np.ndarray:
    """The overlay in floats, as its formula says."""
    name = imaging.DIVERGING if signed else imaging.DEFAULT
    colours = imaging.colorize((heat + 1) / 2 if signed else heat, name) * 255.0
    alpha = 0.75 * np.abs(heat) ** 0.8 if opacity == "value" else np.full(heat.shape, float(opacity))
    return photo + alpha[..., None] * (colours - photo)


@pytest.mark.parametrize("opacity", ["value", 0.3, 1.0])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", [(300, 400), (5, 7), (1000, 3)])
def test_drawing_in_8_bits_is_within_two_grey_levels_of_floats(
    size: tuple[int, int], signed: bool, opacity: float | str
) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    photo[: size[0] // 2] = photo[: size[0] // 2] // 128 * 255  # black and white are the farthest from any colour
    explanation = made(rng.normal(size=(7, 7)), gs.Placement.whole(size, (224, 224)), Image.fromarray(photo))
    heat = explanation.on_photo(signed=signed).astype(np.float64)
    found = np.asarray(explanation.overlay(signed=signed, opacity=opacity)).astype(float)
    assert np.abs(found - reference(photo, heat, signed, opacity)).max() <= 2


def test_a_smaller_picture_is_the_large_one_made_smaller() -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
        (1200, 900), Image.Resampling.BICUBIC
    )
    target = TargetInfo(1, "cat", place=(300.0, 400.0, 600.0, 800.0))
    box = (0.0, 150.0, 900.0, 1050.0)
    explanation = made(rng.random((7, 7)), gs.Placement((900, 1200), (224, 224), box), photo, targets=((target,),))
    small = explanation.overlay(max_side=400)
    assert small.size == (400, 300)
    large = explanation.overlay().resize((400, 300), Image.Resampling.BOX)
    away = np.abs(np.asarray(small).astype(int) - np.asarray(large))
    away[90:215, 120:280] = 0  # lines of the box, which are as wide in a small picture
    assert np.quantile(away, 0.99) <= 6
    assert explanation.overlay(max_side=5000).size == (1200, 900)


# Words.


def test_words_of_others_are_told_apart_from_ours() -> None:
    explanation = example()
    for word, ours in (("alpha", "opacity"), ("cmap", "colormap")):
        for draw in (explanation.overlay, explanation.figure, explanation.heat_image):
            with pytest.raises(TypeError, match=rf"no argument `{word}`\. It is called `{ours}` here") as caught:
                draw(**{word: 0.5})
            assert isinstance(caught.value, InvalidType)
    with pytest.raises(InvalidType, match=r"no argument `size`\. There are: colormap, opacity, scale, signed"):
        explanation.overlay(size=3)  # type: ignore[call-arg]


# Files.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".JPEG"])
def test_a_picture_s_name_saves_the_figure(tmp_path: Path, suffix: str) -> None:
    explanation = example()
    explanation.save(tmp_path / "deep" / f"x{suffix}")
    with Image.open(tmp_path / "deep" / f"x{suffix}") as picture:
        assert picture.size == explanation.figure().size
        away = np.abs(np.asarray(picture.convert("RGB")).astype(int) - np.asarray(explanation.figure()))
    assert away.mean() < (4 if suffix != ".png" else 1e-9)


def test_the_figures_of_several_images_are_one_under_the_other(tmp_path: Path) -> None:
    from gradsight.results.explanation import joined

    two = joined([example(), example()])
    assert (two.layers, two.input_size) == (("layer4",), (20, 20))
    two.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.height == 2 * example().figure().height


def test_the_form_follows_the_photo_and_is_small(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    for name, quality in (("a.jpg", 95), ("b.jpg", 30), ("c.webp", 95), ("d.webp", 30), ("e.png", 30)):
        imaging.save(picture, tmp_path / name, quality=quality)
        assert imaging.format_of(tmp_path / name) == ("JPEG" if name.endswith(".jpg") else "PNG")
    size = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert size["a.jpg"] > 1.5 * size["b.jpg"]
    assert size["c.webp"] > 1.5 * size["d.webp"]
    with Image.open(tmp_path / "e.png") as again:
        assert again.tobytes() == picture.tobytes()
    imaging.save(picture, tmp_path / "f.png", max_side=30)
    with Image.open(tmp_path / "f.png") as small:
        assert small.size == (30, 20)
    with pytest.raises(InvalidArgument, match=r"must end in .png, .jpg or .webp. Received: 'x.doc'"):
        imaging.save(picture, "x.doc")
    with pytest.raises(InvalidArgument, match="`quality` must be a whole number from 1 to 100"):
        imaging.save(picture, tmp_path / "x.jpg", quality=0)


# Notebooks.


def noisy(count: int) -> gs.Explanation:
    """Photos of noise with five targets, the hardest that there is to compress."""
    rng = np.random.default_rng(0)
    photos = tuple(Image.fromarray(rng.integers(0, 256, (600, 800, 3), dtype=np.uint8)) for _ in range(count))
    return replace(
        example(),
        maps=rng.random((count, 5, 7, 7)).astype(np.float32),
        scores=np.ones((count, 5), np.float32),
        targets=tuple(tuple(TargetInfo(k, f"class {k}") for k in range(5)) for _ in range(count)),
        photos=photos,
        placements=(gs.Placement.whole((600, 800), (224, 224)),) * count,
        input_size=(224, 224),
    )


def test_a_photo_in_a_notebook_is_a_small_jpeg_with_its_size_said() -> None:
    explanation = noisy(1)
    shown = explanation._repr_html_()
    assert len(shown) < 60_000
    width, height = explanation.figure(height=200).size
    assert f'width="{width}" height="{height}"' in shown
    assert "data:image/jpeg;base64," in shown


def test_of_many_photos_a_notebook_shows_five() -> None:
    shown = noisy(7)._repr_html_()
    assert shown.count("<img") == 5
    assert "<p>… and 2 more</p>" in shown
    assert "more" not in example()._repr_html_()


def test_several_explanations_are_a_tuple_that_notebooks_show() -> None:
    one, other = example(), replace(example(), method="layercam", title="LayerCAM")
    several = Explanations([one, other])
    assert several == (one, other)
    assert isinstance(several, tuple)
    shown = several._repr_html_()
    assert re.findall(r"<p>([\w-]+) at layer", shown) == ["Grad-CAM", "LayerCAM"]
    many = Explanations([one] * 30)._repr_html_()
    assert many.count("<img") == 12
    assert "… and 18 more" in many


def test_several_methods_give_them() -> None:
    torch = pytest.importorskip("torch")
    import toys

    found = gs.Explainer(toys.convolutional(), method=["gradcam", "layercam"])(torch.randn(1, 3, 16, 16))
    assert isinstance(found, Explanations)
    first, second = found
    assert (first.method, second.method) == ("gradcam", "layercam")


@pytest.mark.parametrize("suffix", [".gif", ".pdf", ".TIFF"])
def test_other_pictures_are_not_written_as_something_else(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidArgument, match=r"must end in \.png"):
        example().save(tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_long_name_and_its_score_are_whole_in_a_figure() -> None:
    explanation = example()
    heights = []
    for words in (1, 8, 40):
        target = replace(explanation.targets[0][0], label=" ".join(["mastiff"] * words))
        heights.append(replace(explanation, targets=((target,),)).figure().height)
    # Two lines where one is too little, and no more, whatever the name.
    assert heights[0] < heights[1] == heights[2]
