"""`gs.compare`: one photo by several methods as a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from gradsight import comparing
from gradsight.errors import ImageError, InvalidArgument, ModelError, UnknownName
from gradsight.registry import METHODS, Method

pytestmark = pytest.mark.pytorch
PLAIN = gs.Preprocess(size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def explainer() -> gs.Explainer:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.Tanh(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    return gs.Explainer(net.eval(), preprocess=PLAIN, name="tiny")


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))


def test_rows_are_the_explainer_s_own_explanations_in_the_order_named(explainer, photo):
    names = ["layercam", "gradcam", "scorecam"]
    found = gs.compare(photo, explainer, methods=names, layers=["0", "1"], targets=gs.Classes(0, 2))
    assert [(row.method.name, row.explanation.layer) for row in found.rows] == [
        (name, layer) for name in names for layer in ("0", "1")
    ]
    alone = explainer(photo, method="gradcam", layer="1", targets=gs.Classes(0, 2))
    assert np.array_equal(found.rows[3].explanation.maps, alone.maps)
    records = found.records()
    assert [(r["row"], r["column"]) for r in records] == [(i, j) for i in range(6) for j in range(2)]
    assert max(r["strength"] for r in records[:2]) == 1


def test_a_method_that_fails_costs_its_own_row(explainer, photo, monkeypatch, tmp_path):
    def refuse(probe, ops):
        raise ModelError("not with this one.")

    bad = Method("bad", refuse, "Bad-CAM", "here")
    found = gs.compare(photo, explainer, methods=["gradcam", bad])
    assert [row.reason for row in found.failed] == ["not with this one."]
    assert found.records()[1]["error"] == "not with this one."
    assert len(found.explanations) == 1
    found.save(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as drawn:
        assert drawn.size == found.figure().size
    with pytest.raises(ModelError, match="not with this one"):
        gs.compare(photo, explainer, methods=[bad])


def test_it_draws_itself_and_says_what_is_in_it(explainer, photo, tmp_path):
    photo.save(tmp_path / "<b>.png")
    found = gs.compare(tmp_path / "<b>.png", explainer, methods=["gradcam"])
    assert found.name == "<b>.png"
    assert found._repr_html_().startswith('<img alt="&lt;b&gt;.png, compared"')
    assert repr(found) == f"Comparison(1 rows: gradcam; labels={found.explanations[0].labels[0]})"


def test_by_default_the_cheap_methods_and_a_model_by_its_module(explainer, photo):
    found = gs.compare(photo, explainer)
    assert {row.method.name for row in found.rows} == {
        m.name for m in METHODS.values() if not m.costly and not m.attends
    }


@pytest.mark.parametrize(
    ("kind", "words", "options"),
    [
        (UnknownName, "scale", {"scale": "mine"}),
        (UnknownName, "'plasma'", {"colormap": "plasmaa"}),
        (InvalidArgument, "0 to 1", {"opacity": 2}),
        (UnknownName, "method", {"methods": ["gradcan"]}),
        (ImageError, "gone.png", {"photo": "gone.png"}),
    ],
)
def test_a_mistake_is_told_before_anything_runs(explainer, photo, monkeypatch, kind, words, options):
    monkeypatch.setattr(comparing, "rows", lambda *_: pytest.fail("it runs"))
    with pytest.raises(kind, match=words):
        gs.compare(**{"photo": photo, "model": explainer, **options})


def test_a_picture_of_another_kind_is_refused(explainer, photo, tmp_path):
    with pytest.raises(InvalidArgument, match=r"must end in \.png"):
        gs.compare(photo, explainer, methods=["gradcam"]).save(tmp_path / "grid.txt")
