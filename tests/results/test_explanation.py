"""The result: scaling that hides nothing, notes, and a file that gives everything back."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, UnknownName

LABELS = ("red", "<b>green</b>", "blue", "dark", "light")
PREPROCESS = gs.Preprocess(size=(16, 16), fit="crop")


def photo(width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def model() -> nn.Module:
    return toys.convolutional()


@pytest.fixture
def explainer(model: nn.Module) -> gs.Explainer:
    return gs.Explainer(model, preprocess=PREPROCESS, labels=LABELS, name="toy")


@pytest.fixture
def explanation(explainer: gs.Explainer) -> gs.Explanation:
    return explainer([photo(), photo(20, 50)], targets=gs.Top(3))


def with_maps(explanation: gs.Explanation, maps: np.ndarray) -> gs.Explanation:
    changed = copy.copy(explanation)
    object.__setattr__(changed, "maps", maps.astype(np.float32))
    return changed


def test_it_is_frozen(explanation: gs.Explanation) -> None:
    with pytest.raises(AttributeError):
        explanation.layer = "other"  # type: ignore[misc]


def test_heatmaps_are_scaled_by_their_own_maximum_or_by_one_for_all(explanation: gs.Explanation) -> None:
    maps = np.zeros((2, 3, 2, 2))
    maps[0, 0] = [[4, -2], [0, 1]]
    maps[0, 1] = [[0.004, 0], [0, 0]]
    maps[1, 2] = [[2, 2], [2, 2]]
    found = with_maps(explanation, maps)
    np.testing.assert_allclose(found.scale, [[4, 0.004, 0], [0, 0, 2]])
    own, shared = found.heatmaps(size=(2, 2)), found.heatmaps(size=(2, 2), scale="shared")
    np.testing.assert_allclose(own[0, 0], [[1, 0], [0, 0.25]])
    np.testing.assert_allclose(own[0, 1, 0, 0], 1)
    np.testing.assert_allclose(shared[0, 1, 0, 0], 0.001)
    np.testing.assert_allclose(shared[1, 2], 0.5)
    np.testing.assert_allclose(found.heatmaps(size=(2, 2), scale=8.0)[0, 0], [[0.5, 0], [0, 0.125]])
    assert not own[0, 2].any()
    assert explanation.heatmaps().shape == (2, 3, 16, 16)
    for wrong in (0, -1.0, np.nan, True):
        with pytest.raises(InvalidArgument, match="`scale` must be"):
            found.heatmaps(scale=wrong)
    with pytest.raises(UnknownName, match=r"no scale 'other'. Choose from: own, shared"):
        found.heatmaps(scale="other")


@pytest.mark.parametrize("values", [0.0, 3.0, -3.0, np.nan, np.inf])
def test_constant_and_broken_maps_are_drawn_without_nan(explanation: gs.Explanation, values: float) -> None:
    found = with_maps(explanation, np.full((2, 3, 4, 4), values))
    heat = found.heatmaps()
    assert np.isfinite(heat).all()
    assert (heat == (1.0 if values == 3.0 else 0.0)).all()
    assert found.overlay(0, 0).size == (40, 30)
    assert (found.region(0, 0) is None) == (values != 3.0)


def test_notes_on_maps_that_must_not_be_trusted() -> None:
    from gradsight.explaining import notes

    assert notes.of_map(np.array([[1.0, 2.0]])) == []
    assert "zero everywhere" in notes.of_map(np.zeros((2, 2)))[0].text
    assert "not finite" in notes.of_map(np.array([[np.nan, 1]]))[0].text
    assert "nothing in the map speaks for" in notes.of_map(np.array([[-1.0, 0]]))[0].text
    assert "same at every position" in notes.of_map(np.full((2, 2), 3.0))[0].text
    one = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert notes.among_targets(np.stack([one, one[::-1]]), np.array([3.0, 3.0])) == [[], []]
    same = notes.among_targets(np.stack([one, 2 * one]), np.array([3.0, 6.0]))
    assert all("does not tell them apart" in row[0].text for row in same)
    faint = notes.among_targets(np.stack([one, one[::-1] * 1e-4]), np.array([3.0, 3e-4]))
    assert faint[0] == []
    assert "10000 times weaker" in faint[1][0].text


def test_a_note_when_the_scores_are_probabilities() -> None:
    model, inputs = nn.Sequential(toys.convolutional(), nn.Softmax(dim=1)).eval(), torch.randn(2, 3, 16, 16)
    explanation = gs.Explainer(model, layer="0.4")(inputs)
    assert any("softmax" in note for note in explanation.notes)
    with torch.no_grad():
        shares = model(inputs)[0]
    assert explanation.predictions[0][0].probability == pytest.approx(float(shares.max()))  # not softmax once more


def test_predictions_are_the_softmax_of_the_scores(explainer: gs.Explainer, model: nn.Module) -> None:
    explanation = explainer(photo())
    inputs = torch.from_numpy(PREPROCESS(photo()))[None]
    with torch.no_grad():
        shares = model(inputs).softmax(1)[0]
    best = explanation.predictions[0]
    assert [p.index for p in best] == shares.argsort(descending=True).tolist()
    np.testing.assert_allclose([p.probability for p in best], shares.sort(descending=True).values, rtol=1e-5)
    assert best[0].label == LABELS[best[0].index]


def test_the_record_has_the_fields_of_the_command_line(explanation: gs.Explanation) -> None:
    record = explanation.record(1, files=["a.png", "b.png", "c.png"]).to_dict()
    assert list(record) == [
        "version",
        "width",
        "height",
        "size",
        "model",
        "layers",
        "at",
        "method",
        "title",
        "preprocess",
        "assumed",
        "predictions",
        "targets",
    ]
    assert record["size"] == [50, 20]
    assert (record["width"], record["height"], record["model"], record["method"]) == (20, 50, "toy", "gradcam")
    assert list(record["targets"][0]) == [
        *("index", "label", "score", "file", "peak", "box", "area", "place", "signed", "against", "scale", "notes")
    ]
    assert [t["file"] for t in record["targets"]] == ["a.png", "b.png", "c.png"]
    (seen,) = [note for note in record["targets"][0]["notes"] if note["code"] == "seen_in_part"]
    assert seen["text"].startswith("the model saw 40% of the photo")
    assert (record["version"], record["layers"], record["at"]) == (1, ["4"], "layer")
    json.dumps(record)


def test_what_the_model_did_not_see_has_no_heat(explanation: gs.Explanation) -> None:
    top, left, bottom, right = explanation.placements[1].seen
    assert (top, left, bottom, right) == (15, 0, 35, 20)
    full = with_maps(explanation, np.ones((2, 3, 4, 4)))
    heat = full.on_photo(1, 0)
    assert heat.shape == (50, 20)
    assert (heat[15:35] == 1).all()
    assert not heat[:15].any()
    assert not heat[35:].any()


def test_saved_and_loaded_it_is_the_same(explanation: gs.Explanation, tmp_path: Path) -> None:
    path = tmp_path / "explanation.npz"
    explanation.save(path)
    loaded = gs.Explanation.load(path)
    np.testing.assert_array_equal(loaded.maps, explanation.maps)
    np.testing.assert_array_equal(loaded.scores, explanation.scores)
    for name in (
        "targets",
        "layers",
        "at",
        "method",
        "model",
        "input_size",
        "predictions",
        "target_notes",
        "placements",
        "title",
        "preprocess",
    ):
        assert getattr(loaded, name) == getattr(explanation, name), name
    assert loaded.overlay(1, 2).tobytes() == explanation.overlay(1, 2).tobytes()


def test_files_from_before_titles_and_signs_still_load(explanation: gs.Explanation, tmp_path: Path) -> None:
    path = tmp_path / "old.npz"
    explanation.save(path)
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    about = json.loads(str(arrays.pop("about")))
    assert about.pop("title") == "Grad-CAM"
    for row in about["targets"]:
        for target in row:
            del target["sides"]
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    loaded = gs.Explanation.load(path)
    assert (loaded.title, loaded.record().title) == ("", "gradcam")
    assert loaded.targets == explanation.targets


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(InvalidArgument, match="There is no file"):
        gs.Explanation.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidArgument, match="not an explanation"):
        gs.Explanation.load(path)
    np.savez(path, maps=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidArgument, match="not an explanation"):
        gs.Explanation.load(path)


def test_notebooks_show_the_figure_with_its_words_escaped(explainer: gs.Explainer) -> None:
    explanation = explainer([photo(), photo(20, 50)], targets=1)
    shown = explanation._repr_html_()
    assert shown.count("<img") == 2
    assert "<b>green" not in shown
    assert "&lt;b&gt;green" in shown
    assert explainer(torch.randn(1, 3, 16, 16))._repr_html_().count("<img") == 1  # the heat alone


def test_an_explanation_of_arrays_draws_on_a_photo_that_is_given(explainer: gs.Explainer) -> None:
    explanation = explainer(torch.randn(1, 3, 16, 16))
    assert explanation.overlay(photo=photo()).size == (40, 30)
    for call in (explanation.overlay, explanation.on_photo):
        with pytest.raises(InvalidArgument, match="no photo to draw on"):
            call()


def test_photos_need_a_preprocess_and_do_not_mix_with_arrays(explainer: gs.Explainer) -> None:
    assert [note.code for note in gs.Explainer(toys.convolutional())([photo()]).target_notes[0][0]][-1:] == [
        "assumed_preprocess"
    ]
    with pytest.raises(InvalidArgument, match="no `preprocess`"):
        gs.Explainer(toys.convolutional(dimensions=1))([photo()])
    with pytest.raises(InvalidArgument, match=r"method place\(photo\)"):
        gs.Explainer(toys.convolutional(), preprocess=lambda image: np.zeros((3, 16, 16)))
    with pytest.raises(InvalidType, match="one batch, or photos only"):
        explainer([photo(), torch.zeros(1, 3, 16, 16)])
    with pytest.raises(InvalidType, match="must be a batch"):
        explainer({"image": "x"})


def test_one_photo_explained_like_its_batch(explainer: gs.Explainer) -> None:
    maps = explainer(photo()).maps
    np.testing.assert_array_equal(maps, explainer(PREPROCESS(photo())[None]).maps)


# Both signs.


@pytest.fixture
def rather(explainer: gs.Explainer) -> gs.Explanation:
    """One photo of 16 x 16, its map half against (left) and half as strong for (right)."""
    found = explainer(Image.new("RGB", (16, 16), (128, 128, 128)), targets=gs.Contrast("red", "blue"))
    maps = np.zeros((1, 1, 4, 4))
    maps[..., :2], maps[..., 3] = -4, 2
    return with_maps(found, maps)


def test_a_signed_map_is_scaled_by_its_largest_magnitude(rather: gs.Explanation) -> None:
    np.testing.assert_allclose(rather.scale, [[4]])
    np.testing.assert_allclose(rather.heatmaps(size=(4, 4))[0, 0, 0], [-1, -1, 0, 0.5])
    np.testing.assert_allclose(rather.heatmaps(size=(4, 4), scale=2.0)[0, 0, 0], [-1, -1, 0, 1])
    np.testing.assert_allclose(rather.heatmaps(size=(4, 4), signed=False)[0, 0, 0], [0, 0, 0, 1])
    assert (rather.on_photo()[8, [0, 15]] == (-1, 0.5)).all()
    assert (rather.on_photo(signed=False)[8, [0, 15]] == (0, 1)).all()


def test_a_signed_map_is_drawn_blue_against_and_red_for(rather: gs.Explanation) -> None:
    left, middle, right = np.asarray(rather.overlay()).astype(int)[8, [0, 9, 15]]
    assert left[2] > 200 > 60 > left[0]
    assert abs(middle - 128).max() < 40
    assert right[0] > 170 > 135 > right[2]
    unsigned = np.asarray(rather.overlay(signed=False)).astype(int)[8]
    assert (unsigned[0] == 128).all()
    assert unsigned[15, 0] > 200 > 100 > unsigned[15, 2]  # plasma's yellow
    grey = np.asarray(rather.overlay(colormap="gray", opacity=1.0)).astype(int)[8]
    assert (grey[0] == 0).all()
    assert (grey[15] == 191).all()
    assert rather.overlay(photo=Image.new("RGB", (16, 16), (128, 128, 128))).tobytes() == rather.overlay().tobytes()


def test_any_map_can_be_drawn_signed(explanation: gs.Explanation) -> None:
    found = with_maps(explanation, np.full((2, 3, 4, 4), -3.0))
    assert (found.heatmaps() == 0).all()
    assert (found.heatmaps(signed=True) == -1).all()


def test_the_record_of_a_signed_map_has_both_sides(rather: gs.Explanation) -> None:
    (target,) = rather.record().to_dict()["targets"]
    assert target["signed"] is True
    assert target["scale"] == 4
    assert target["peak"][1] >= 13
    assert target["against"]["peak"][1] < 7
    assert target["against"]["box"] == [0, 0, 16, 8]
    assert json.loads(json.dumps(target)) == target


def test_a_plain_target_has_no_other_side_and_one_against_a_class_is_not_signed(explainer: gs.Explainer) -> None:
    (target,) = explainer(photo(), targets="red").record().targets
    assert (target.signed, target.against) == (False, None)
    for_red, against_red = explainer(photo(), targets="red"), explainer(photo(), targets=gs.Against("red"))
    np.testing.assert_allclose(against_red.maps, -for_red.maps, atol=1e-7)
    assert against_red.heatmaps().min() >= 0


def test_the_figure_says_which_colour_speaks_for_what(
    rather: gs.Explanation, explanation: gs.Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels: list[tuple] = []
    monkeypatch.setattr("gradsight.imaging.strip", lambda found, **options: panels.extend(found))
    rather.figure()
    assert panels[-1][1][1] == "red: for red, blue: for blue"
    explanation.figure()
    assert len(panels[-1][1]) == 1
    explanation.figure(signed=True, colormap="vik")
    assert panels[-1][1][1] == "dark red: for it, dark blue: against it"


def test_a_note_on_emptiness_is_not_made_of_a_signed_map() -> None:
    from gradsight.explaining import notes

    assert "heatmap is empty" in notes.of_map(np.array([[-1.0, 0]]))[0].text
    assert "heatmap is empty" not in notes.of_map(np.array([[-1.0, 0]]), True)[0].text


# Maps as fine as the input.


@pytest.fixture
def fine(explainer: gs.Explainer) -> gs.Explanation:
    """Noise below 1 on 16 x 16 positions with a dense square, and one stray pixel ten times as strong."""
    maps = np.random.default_rng(7).random((1, 1, 16, 16)) * 0.3
    maps[..., 10:14, 10:14] += 0.7
    maps[..., 2, 3] = 10
    return with_maps(explainer(Image.new("RGB", (16, 16)), targets="red", method="gradient"), maps)


def test_a_fine_map_is_scaled_by_a_high_quantile(fine: gs.Explanation) -> None:
    assert fine.scale[0, 0] == pytest.approx(np.quantile(fine.maps, 0.99))
    assert fine.scale[0, 0] < 1.1
    heat = fine.heatmaps()[0, 0]
    assert heat.max() == 1
    assert heat[10:14, 10:14].min() > 0.6
    coarse = with_maps(fine, fine.maps[..., ::2, :])
    assert coarse.scale[0, 0] == 10
    assert fine.heatmaps(scale=10.0)[0, 0, 10:14, 10:14].max() < 0.11


def test_a_small_spot_on_a_faint_floor_is_not_drawn_like_the_floor(fine: gs.Explanation) -> None:
    maps = np.full((1, 1, 16, 16), 1e-3)
    maps[..., 5, 5:7] = 1
    heat = with_maps(fine, maps).heatmaps()[0, 0]
    assert heat[5, 5] == 1
    assert heat[0, 0] < 0.05
    assert not with_maps(fine, -maps).heatmaps().any()


def test_the_peak_of_a_fine_map_is_where_it_is_dense(fine: gs.Explanation) -> None:
    maps = np.zeros((1, 1, 64, 64))
    maps[..., 40:56, 40:56] = 0.5
    maps[..., 5, 6] = 3
    wide = with_maps(fine, maps)
    object.__setattr__(wide, "input_size", (64, 64))
    row, column = wide.region().peak  # type: ignore[union-attr]
    assert 10 <= row < 14
    assert 10 <= column < 14
    object.__setattr__(wide, "input_size", (65, 64))  # no longer one value a pixel: taken at its word
    assert wide.region().peak == (1, 1)  # type: ignore[union-attr]


def test_dots_that_cancel_are_no_peak() -> None:
    from gradsight.imaging import smoothed

    checks = np.indices((64, 64)).sum(0) % 2 * 2.0 - 1
    checks[40:50, 40:50] = 0.3
    assert np.unravel_index(smoothed(checks).argmax(), (64, 64)) in {(44, 44), (44, 45), (45, 44), (45, 45)}


def test_notebooks_see_the_title(explainer: gs.Explainer) -> None:
    assert (
        "<p>Vanilla gradient of the image itself, model toy</p>" in explainer(photo(), method="gradient")._repr_html_()
    )
    fused = explainer(photo(), method="fuse(layercam)", layer=["1", "4"])[0]
    assert fused.figure().width > 320
    assert "<p>Fused LayerCAM at layers 1, 4, model toy</p>" in fused._repr_html_()


def test_a_note_says_which_part_of_an_output_is_explained() -> None:
    from gradsight.explaining import notes

    assert notes.of_part("block", None) == []
    (note,) = notes.of_part("block#0", (2, "[0]"))
    assert note.text == "layer 'block#0' gives 2 tensors that could be maps; explained is the first, output[0]"
