"""Colours, overlays and strips."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from gradsight.errors import InvalidArgument, InvalidType, UnknownName
from gradsight.imaging import DEFAULT, DIVERGING, colorize, colormap, colormaps, ends, overlay, strip


def photo(height: int = 12, width: int = 17) -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    values[0, 0], values[0, 1] = 0, 255
    return Image.fromarray(values)


def blended(picture: Image.Image, colour: np.ndarray, alpha: float) -> np.ndarray:
    """The plain formula in float64."""
    return np.asarray(picture).astype(float) * (1 - alpha) + alpha * 255 * colour


# ---- colour maps


def test_recommended_maps_exist() -> None:
    assert {DEFAULT, DIVERGING, "jet", "viridis"} <= set(colormaps())
    for name in colormaps():
        table = colormap(name)
        assert table.ndim == 2
        assert table.shape[1] == 3
        assert 0 <= table.min() <= table.max() <= 1


def test_known_colours() -> None:
    np.testing.assert_allclose(colormap("viridis")[[0, -1]], [[0.267, 0.005, 0.329], [0.993, 0.906, 0.144]], atol=2e-3)
    np.testing.assert_allclose(colorize(np.array([0.0, 1.0]), "bwr"), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(colormap("viridis_r"), colormap("viridis")[::-1], atol=1e-6)


def test_the_default_grows_lighter_all_the_way() -> None:
    lightness = colormap(DEFAULT) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).mean() > 0.99


def test_any_name_of_the_catalogue_works() -> None:
    assert colorize(np.linspace(0, 1, 5), "crameri:batlow").shape == (5, 3)
    assert colorize(np.array([0.0, 1.0]), "tab10").shape == (2, 3)


def test_unknown_maps() -> None:
    with pytest.raises(UnknownName, match=r"colour map 'viridsi'.*'viridis'"):
        colormap("viridsi")
    with pytest.raises(InvalidType, match="colormap"):
        colormap(7)  # type: ignore[arg-type]


def test_tables_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        colormap("viridis")[0] = 0


@given(arrays.arrays(np.float32, (7,), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
def test_colours_never_wrap(values: np.ndarray) -> None:
    table = colormap("jet")
    found = colorize(values, "jet")
    for value, colour in zip(values, found, strict=True):
        kept = 0.0 if np.isnan(value) else min(max(float(value), 0.0), 1.0)
        step = kept * (len(table) - 1)
        near = table[[int(np.floor(step)), int(np.ceil(step))]]
        assert (near.min(0) - 1e-6 <= colour).all()
        assert (colour <= near.max(0) + 1e-6).all()


def test_the_ends_of_a_map_in_words() -> None:
    assert ends("bwr") == ("blue", "red")
    assert ends("gray_r") == ("white", "black")
    assert ends(DEFAULT)[1] == "yellow"


def test_integers_are_values_too() -> None:
    np.testing.assert_array_equal(colorize(np.array([0, 1]), "jet"), colormap("jet")[[0, -1]])


# ---- overlay


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("heat", [0.0, 1.0, np.nan, np.inf, -np.inf, 7.0])
def test_flat_maps_do_not_wrap(heat: float, dtype: type) -> None:
    picture = photo()
    kept = float(np.clip(np.nan_to_num(heat, nan=0.0), 0, 1))
    for opacity in (0.0, 0.3, 0.5, 1.0):
        found = np.asarray(overlay(picture, np.full((12, 17), heat, dtype), opacity=opacity))
        expected = blended(picture, colorize(np.array(kept)), opacity)
        assert np.abs(found - expected).max() < 1.1  # in 8 bits: colours and opacity are rounded too


def test_no_heat_shows_the_photo() -> None:
    picture = photo()
    for heat in (np.zeros((12, 17)), np.full((12, 17), np.nan), np.zeros((3, 4))):
        np.testing.assert_array_equal(np.asarray(overlay(picture, heat)), np.asarray(picture))


@given(st.integers(0, 2**32 - 1))
def test_opacity_zero_gives_the_photo_back(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    for image in (values, Image.fromarray(values), values / 255, (values / 255).astype(np.float32)):
        found = overlay(image, generator.random((5, 6)), opacity=0)
        assert found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), values)


def test_the_hotter_the_less_of_the_photo() -> None:
    heat = np.linspace(0, 1, 60)[None]
    dark = np.asarray(overlay(np.zeros((1, 60, 3)), heat, colormap="bids:viridis")).astype(float)
    bright = np.asarray(overlay(np.ones((1, 60, 3)), heat, colormap="bids:viridis")).astype(float)
    through = (bright - dark)[0].mean(axis=1) / 255
    assert through[0] == 1
    assert 0.2 <= through[-1] <= 0.3
    assert (np.diff(through) < 0).all()


def test_maps_are_brought_to_the_size_of_the_photo() -> None:
    heat = np.zeros((7, 7))
    heat[3, 3] = 1
    found = np.asarray(overlay(np.zeros((140, 210, 3), np.uint8), heat, opacity=1.0, colormap="gray"))
    assert found.shape == (140, 210, 3)
    assert np.unravel_index(found[..., 0].argmax(), (140, 210)) in {(69, 104), (69, 105), (70, 104), (70, 105)}
    assert found[69, 104, 0] > 230


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, heat = photo(33, 20), np.random.default_rng(5).random((33, 20))
    whole = np.asarray(overlay(picture, heat))
    monkeypatch.setattr(sys.modules["gradsight.imaging.resample"], "_BAND", 60)
    np.testing.assert_array_equal(np.asarray(overlay(picture, heat)), whole)


def test_what_the_model_did_not_see_is_grey_and_without_heat() -> None:
    picture = Image.new("RGB", (20, 10), (250, 40, 40))
    found = np.asarray(overlay(picture, np.ones((10, 20)), seen=(2, 5, 8, 15)))
    inside = np.zeros((10, 20), bool)
    inside[2:8, 5:15] = True
    np.testing.assert_array_equal(found[inside], np.asarray(overlay(picture, np.ones((10, 20))))[inside])
    outside = found[~inside].astype(int)
    assert (np.ptp(outside, axis=1) == 0).all()
    assert outside.max() < np.asarray(picture.convert("L")).min()
    black = np.asarray(overlay(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20)), seen=(2, 5, 8, 15)))
    assert (black[~inside] > 20).all()  # a veil, where dimming would not show
    assert (black[inside] == 0).all()


def test_signed_maps() -> None:
    grey = np.full((1, 3, 3), 128, np.uint8)
    against, nothing, speaks = np.asarray(overlay(grey, np.array([[-1.0, 0.0, 1.0]]), colormap=DIVERGING, signed=True))[
        0
    ].astype(int)
    assert against[2] > 200 > 60 > against[0]
    assert speaks[0] > 200 > 60 > speaks[2]
    np.testing.assert_array_equal(nothing, 128)
    unsigned = np.asarray(overlay(grey, np.array([[-1.0, 0.0, 1.0]])))[0]
    np.testing.assert_array_equal(unsigned[:2], 128)


@pytest.mark.parametrize(
    ("heat", "options", "error", "message"),
    [
        (np.zeros((2, 3, 4)), {}, InvalidArgument, "heatmap"),
        (np.zeros((3, 4)), {"opacity": 1.5}, InvalidArgument, "opacity"),
        (np.zeros((3, 4)), {"opacity": float("nan")}, InvalidArgument, "opacity"),
        (np.zeros((3, 4)), {"opacity": "valeu"}, UnknownName, "'value'"),
        (np.zeros((3, 4)), {"colormap": "jett"}, UnknownName, "'jet'"),
    ],
)
def test_wrong_arguments_are_refused(
    heat: np.ndarray, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        overlay(photo(), heat, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="image"):
        overlay(np.zeros((4, 5)), np.zeros((4, 5)))


# ---- strip


def test_a_strip_sets_pictures_side_by_side() -> None:
    panels = [(Image.new("RGB", (200, 100), "red"), "wide"), (Image.new("L", (50, 100), 0), "narrow")]
    found = np.asarray(strip(panels, height=100)).astype(int)
    red = (found == (255, 0, 0)).all(axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (len(rows), len(columns)) == (100, 200)
    assert (found[0] == 255).all()
    black = (found[rows[0] : rows[-1] + 1] == 0).all(axis=2)
    assert (black.any(axis=1).sum(), black.any(axis=0).sum()) == (100, 50)
    under = found[rows[-1] + 1 :, columns[0] : columns[-1]]
    assert under.min() < 100  # its caption


def test_more_than_four_wrap() -> None:
    one = (Image.new("RGB", (60, 60), "blue"), "x")
    four, five = strip([one] * 4, height=60), strip([one] * 5, height=60)
    assert five.width == four.width
    assert five.height > 2 * 60 + 20 > four.height


def test_a_very_wide_picture_is_drawn_lower_and_in_its_shape() -> None:
    for size in ((4000, 1), (3000, 100), (900, 30)):
        found = np.asarray(strip([(Image.new("RGB", size, "red"), "a")], height=90)).astype(int)
        red = (found == (255, 0, 0)).all(axis=2)
        height, width = red.any(axis=1).sum(), red.any(axis=0).sum()
        assert width <= max(16 * 90, size[0])
        assert width / height == pytest.approx(size[0] / size[1], rel=0.05)


def test_captions_stay_under_their_picture() -> None:
    picture = Image.new("RGB", (80, 80), "white")
    for caption in ("a very long caption " * 9, "ßé 猫 \U0001f600\n two\tlines", "", "W" * 200):
        found = np.asarray(strip([(picture, caption), (picture, "")], height=80).convert("L"))
        ink = np.flatnonzero((found < 200).any(axis=0))
        assert ink.size == 0 or ink.max() < found.shape[1] / 2


def test_captions_of_several_lines_make_room_for_each() -> None:
    picture = Image.new("RGB", (80, 80), "white")
    one, two = (
        strip([(picture, "a"), (picture, "b")], height=80),
        strip([(picture, "a"), (picture, ["b", "c"])], height=80),
    )
    assert two.height > one.height
    rows = np.flatnonzero((np.asarray(two.convert("L"))[:, 90:] < 200).any(axis=1))
    assert (np.diff(rows) > 4).sum() == 1


def test_accents_are_dropped_rather_than_drawn_as_boxes() -> None:
    picture = Image.new("RGB", (200, 80), "white")
    assert strip([(picture, "épagneul à tête")], height=80) == strip([(picture, "epagneul a tete")], height=80)


def test_a_strip_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="panel"):
        strip([])
    with pytest.raises(InvalidArgument, match="height"):
        strip([(photo(), "x")], height=0)


def test_importing_loads_neither_cmap_nor_scipy_nor_a_framework() -> None:
    absent = ("cmap", "scipy", "torch", "matplotlib")
    code = f"import sys, gradsight.imaging; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
