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
from gradsight.errors import InvalidArgument, InvalidType

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
    for wrong in ("other", 0, -1.0):
        with pytest.raises(InvalidArgument, match="`scale` must be"):
            found.heatmaps(scale=wrong)


@pytest.mark.parametrize("values", [0.0, 3.0, -3.0, np.nan, np.inf])
def test_constant_and_broken_maps_are_drawn_without_nan(explanation: gs.Explanation, values: float) -> None:
    found = with_maps(explanation, np.full((2, 3, 4, 4), values))
    heat = found.heatmaps()
    assert np.isfinite(heat).all()
    assert (heat == (1.0 if values == 3.0 else 0.0)).all()
    assert found.overlay(0, 0).size == (40, 30)
    assert (found.region(0, 0) is None) == (values != 3.0)


def test_notes_on_maps_that_must_not_be_trusted() -> None:
    from gradsight import notes

    assert notes.of_map(np.array([[1.0, 2.0]])) == []
    assert "zero everywhere" in notes.of_map(np.zeros((2, 2)))[0]
    assert "not finite" in notes.of_map(np.array([[np.nan, 1]]))[0]
    assert "nothing in the map speaks for" in notes.of_map(np.array([[-1.0, 0]]))[0]
    assert "same at every position" in notes.of_map(np.full((2, 2), 3.0))[0]
    one = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert notes.among_targets(np.stack([one, one[::-1]]), np.array([3.0, 3.0])) == [[], []]
    same = notes.among_targets(np.stack([one, 2 * one]), np.array([3.0, 6.0]))
    assert all("does not tell them apart" in row[0] for row in same)
    faint = notes.among_targets(np.stack([one, one[::-1] * 1e-4]), np.array([3.0, 3e-4]))
    assert faint[0] == []
    assert "10000 times weaker" in faint[1][0]


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
    record = explanation.record(1, files=["a.png", "b.png", "c.png"])
    assert list(record) == ["width", "height", "model", "layer", "method", "predictions", "targets"]
    assert (record["width"], record["height"], record["model"], record["method"]) == (20, 50, "toy", "gradcam")
    assert list(record["targets"][0]) == ["index", "label", "score", "file", "peak", "box", "area", "notes"]
    assert [t["file"] for t in record["targets"]] == ["a.png", "b.png", "c.png"]
    assert "the model saw 40% of the photo" in " ".join(record["targets"][0]["notes"])
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
    for name in ("targets", "layer", "method", "model", "input_size", "predictions", "target_notes", "placements"):
        assert getattr(loaded, name) == getattr(explanation, name), name
    assert loaded.overlay(1, 2).tobytes() == explanation.overlay(1, 2).tobytes()


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(InvalidArgument, match="there is no file"):
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
    arrays = explainer(torch.randn(1, 3, 16, 16))
    assert "Explanation(" in arrays._repr_html_()


def test_an_explanation_of_arrays_draws_on_a_photo_that_is_given(explainer: gs.Explainer) -> None:
    explanation = explainer(torch.randn(1, 3, 16, 16))
    assert explanation.overlay(photo=photo()).size == (40, 30)
    for call in (explanation.overlay, explanation.figure, explanation.on_photo):
        with pytest.raises(InvalidArgument, match="no photo to draw on"):
            call()


def test_photos_need_a_preprocess_and_do_not_mix_with_arrays(explainer: gs.Explainer) -> None:
    with pytest.raises(InvalidArgument, match="no `preprocess`"):
        gs.Explainer(toys.convolutional())([photo()])
    with pytest.raises(InvalidType, match=r"method place\(photo\)"):
        gs.Explainer(toys.convolutional(), preprocess=lambda image: np.zeros((3, 16, 16)))([photo()])
    with pytest.raises(InvalidType, match="one batch, or photos only"):
        explainer([photo(), torch.zeros(1, 3, 16, 16)])
    with pytest.raises(InvalidType, match="must be a batch"):
        explainer({"image": "x"})


def test_one_photo_explained_like_its_batch(explainer: gs.Explainer) -> None:
    maps = explainer(photo()).maps
    np.testing.assert_array_equal(maps, explainer(PREPROCESS(photo())[None]).maps)
