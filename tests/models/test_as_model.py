"""One way to name a model everywhere: a source's name, a path, a module, an object around one, a Model, a spec."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.imaging import PARTS
from gradsight.models.as_model import as_model
from gradsight.models.spec import ModelSpec

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
FUNCTIONS = """
    import gradsight as gs
    import torch
    import toys

    def build(seed=0):
        torch.manual_seed(seed)
        return toys.convolutional(), gs.Preprocess((32, 32)), list("abcde")
"""
SOURCE = "gradsight_test_naming"


class Yolo:
    """What ultralytics passes around its modules."""

    def __init__(self, module: nn.Module) -> None:
        self.model, self.names, self.task, self.overrides = module, dict(enumerate("abcde")), "classify", {"imgsz": 32}


@pytest.fixture
def named(folder: Any, tmp_path: Path) -> dict[str, Any]:
    """One model in all the ways that it can be named."""
    folder.write(SOURCE, FUNCTIONS)
    loaded = gs.load_model(f"{SOURCE}:build")
    exported = torch.export.export(
        loaded.model, (torch.rand(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    torch.export.save(exported, tmp_path / "model.pt2")
    assert loaded.spec is not None
    return {
        "name": f"{SOURCE}:build",
        "spec": loaded.spec,
        "Model": loaded,
        "module": loaded.model,
        "object": Yolo(loaded.model),
        "Path": tmp_path / "model.pt2",
        "str": str(tmp_path / "model.pt2"),
    }


@pytest.mark.parametrize("how", ["name", "spec", "Model", "module", "object", "Path", "str"])
def test_each_way_to_name_a_model_explains_photos(named: dict[str, Any], how: str) -> None:
    expected = gs.explain(PHOTO, named["name"], targets=3, method="gradient").maps
    options: dict[str, Any] = {"preprocess": gs.Preprocess((32, 32)), "targets": 3, "method": "gradient"}
    made = gs.explain(PHOTO, named[how], **options)
    np.testing.assert_allclose(made.maps, expected, rtol=1e-4, atol=1e-6)
    own = gs.Explainer(named[how], **options)(PHOTO)
    np.testing.assert_array_equal(own.maps, made.maps)
    assert own.model == made.model


def test_what_load_model_and_explainer_take_is_passed_on(named: dict[str, Any]) -> None:
    made = gs.explain(PHOTO, named["name"], fit="letterbox", top=3, device="cpu", arguments={"seed": 1}, name="mine")
    loaded = gs.load_model(named["name"], fit="letterbox", arguments={"seed": 1}, device="cpu")
    expected = gs.Explainer(loaded, targets=gs.Top(3))(PHOTO)
    np.testing.assert_array_equal(made.maps, expected.maps)
    assert (made.model, expected.model) == ("mine", named["name"])
    assert made.preprocess is not None
    assert made.preprocess["fit"] == "letterbox"
    for given in (named["Model"], named["module"]):  # how photos are made for it is replaced there too
        again = gs.explain(PHOTO, given, fit="letterbox", size=40, mean=[0.5] * 3, std=[0.5] * 3, labels=list("vwxyz"))
        assert again.preprocess is not None
        assert (again.preprocess["fit"], again.preprocess["size"]) == ("letterbox", [40, 40])
        assert again.targets[0][0].label in "vwxyz"
    assert not any("this was assumed" in note for note in again.notes if "crop" in note)


def test_labels_may_be_a_file_wherever_a_model_is_named(named: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    for given in (named["name"], named["module"]):
        made = gs.explain(PHOTO, given, labels=str(tmp_path / "labels.txt"))
        assert made.targets[0][0].label in {"one", "two", "three", "four", "five"}


@pytest.mark.parametrize("option", [{"weights": "file.pt"}, {"arguments": {"seed": 1}}])
def test_what_is_for_loading_is_told_of_a_model_that_is_there(named: dict[str, Any], option: dict[str, Any]) -> None:
    for given in (named["Model"], named["module"]):
        with pytest.raises(InvalidArgument, match="is for a model that gradsight loads"):
            gs.explain(PHOTO, given, **option)


def test_a_model_of_the_user_s_is_not_moved(named: dict[str, Any]) -> None:
    assert gs.explain(PHOTO, named["module"], device="cpu", size=32).maps.shape[0] == 1
    assert gs.explain(PHOTO, named["Model"], device=torch.device("cpu")).maps.shape[0] == 1
    with pytest.raises(InvalidArgument, match=r"`device` must be where the model is, cpu.*model\.to\('meta'\)"):
        gs.explain(PHOTO, named["module"], device="meta")
    assert {p.device.type for p in named["module"].parameters()} == {"cpu"}
    loaded = gs.load_model(named["name"], device="meta")
    assert {p.device.type for p in loaded.model.parameters()} == {"meta"}


def test_a_spec_says_all_that_was_asked_for_or_nothing(named: dict[str, Any]) -> None:
    loaded = gs.load_model(named["name"], arguments={"seed": 2}, size=40, mean=(0.5,) * 3, std=(0.5,) * 3)
    spec = loaded.spec
    assert spec is not None
    x = torch.rand(1, 3, 32, 32)
    for again in (spec, pickle.loads(pickle.dumps(spec)), ModelSpec.from_json(spec.to_json())):
        assert again == spec
        assert again.load().preprocess == loaded.preprocess
        assert torch.equal(again.load().model(x), loaded.model(x))
    assert gs.load_model(spec, size=48).preprocess.size == (48, 48)  # type: ignore[union-attr]
    own = gs.Preprocess((20, 20))
    told = gs.Explainer(loaded, preprocess=own, labels=list("vwxyz"), name="mine").model
    assert told.spec is not None
    back = ModelSpec.from_json(told.spec.to_json()).load()
    assert (back.preprocess, back.labels) == (own, tuple("vwxyz"))
    assert gs.Explainer(loaded).model.spec == spec
    assert gs.Explainer(loaded, scores=lambda outputs: outputs).model.spec is None
    followed = gs.Explainer(loaded, preprocess=lambda photo: np.asarray(photo) / 255).model.spec
    with pytest.raises(InvalidType, match="its preprocess is no function"):
        followed.to_json()  # type: ignore[union-attr]
    assert gs.Explainer(named["module"]).model.spec is None


def test_what_json_cannot_hold_is_told() -> None:
    with pytest.raises(InvalidType, match="its preprocess is no function"):
        ModelSpec("demo", preprocess=lambda pixels: pixels).to_json()
    with pytest.raises(InvalidType, match="where its arguments are numbers"):
        ModelSpec("a.b:c", arguments={"x": object()}).to_json()
    assert ModelSpec.from_json(ModelSpec("a.b:c", arguments={"x": np.float64(0.5)}).to_json()).arguments == {"x": 0.5}


def test_no_model_is_told_in_words() -> None:
    assert as_model(toys.convolutional()).name == ""
    for value in (5, None, np.zeros(3)):
        with pytest.raises(InvalidType, match=r"`model` must be a torch\.nn\.Module"):
            gs.explain(PHOTO, value)


def test_a_bare_module_gets_the_usual_pictures_and_a_note() -> None:
    made = gs.explain(PHOTO, toys.convolutional())
    (note,) = [note for note in made.notes if "this was assumed" in note]
    assert "size 224 x 224" in note
    assert "mean 0.485, 0.456, 0.406" in note
    assert made.preprocess is not None
    assert made.preprocess["assumed_parts"] == list(PARTS)


def test_a_preprocess_and_a_fit_are_one_preprocessing() -> None:
    photo = Image.new("RGB", (60, 20))
    whole = gs.Preprocess(size=32)
    made = gs.explain(photo, toys.convolutional(), preprocess=whole, fit="letterbox").preprocess
    assert made is not None
    assert (made["fit"], made["size"]) == ("letterbox", [32, 32])
    with pytest.raises(InvalidArgument, match="fit cannot be replaced in a function"):
        gs.explain(
            photo,
            toys.convolutional(),
            preprocess=lambda image: np.asarray(image.resize((32, 32)), np.float32).transpose(2, 0, 1) / 255,
            fit="letterbox",
        )


def test_a_size_is_one_number_too_where_the_model_is_there() -> None:
    model = gs.Model(toys.convolutional(), gs.Preprocess(size=32, resize=36))
    assert gs.explain(Image.new("RGB", (60, 40)), model, size=64).preprocess["size"] == [64, 64]  # type: ignore[index]


def test_none_leaves_what_a_spec_says() -> None:
    spec = ModelSpec("demo", picture={"fit": "letterbox"})
    assert gs.load_model(spec, fit=None).preprocess.fit == "letterbox"  # type: ignore[union-attr]


def test_a_model_may_be_around_what_ultralytics_gives() -> None:
    class Yolo:
        """As ultralytics's: no module, and one inside."""

        def __init__(self) -> None:
            self.names = dict(enumerate("abcde"))
            self.task, self.overrides = "classify", {"imgsz": 32}
            self.model = toys.convolutional()
            self.model.names = self.names

    made = as_model(gs.Model(Yolo(), name="mine"))
    assert isinstance(made.model, nn.Module)
    assert (made.name, made.labels) == ("mine", tuple("abcde"))
    assert made.preprocess.size == (32, 32)  # type: ignore[union-attr]
    assert as_model(gs.Model(Yolo(), labels=list("vwxyz"))).labels == tuple("vwxyz")


def test_a_source_that_returns_no_model_is_told() -> None:
    @gs.source("bare_module", title="A module", example="bare_module:x")
    def bare_module(name: str, *, weights: object = None) -> nn.Module:
        return toys.convolutional()

    with pytest.raises(InvalidType, match=r"the source 'bare_module' must return a gs\.Model"):
        gs.load_model("bare_module:x")
