"""`gs.evaluate` of a Keras model gives the figures of its PyTorch twin with the same weights, on every engine."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import frameworks
import gradsight as gs
import twins
from cases_of import network
from gradsight.annotations import Annotations, LabelledBox, Marks
from gradsight.evaluating.evaluation import Evaluation

SIZE = (9, 8)
LABELS = ("ant", "bee", "cat", "dog", "elk")
METRICS = ["deletion(steps=4)", "insertion(steps=4)", "road(steps=2)", "averagedrop", "increase", "pointing"]
METRICS += ["energypointing", "maskauc", "maxboxacc(thresholds=5)", "gini", "classsensitivity", "mirroring"]
ABOUT: dict[str, Any] = {"preprocess": gs.Preprocess(SIZE, fit="squash"), "labels": LABELS}


@pytest.fixture(scope="module")
def pair() -> tuple[gs.Explainer, gs.Explainer]:
    """Of a PyTorch network and of its twin."""
    torch.manual_seed(0)  # before the test's own seed: what is made here must not depend on the tests before
    net = network()
    twin = twins.model_like(copy.deepcopy(net), size=SIZE)
    return gs.Explainer(net.float(), layer="4", **ABOUT), gs.Explainer(twin, layer=frameworks.at("4"), **ABOUT)


def photos(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    # Of blocks: where neighbours are nearly equal, so are maps, and rounding says which of two comes first.
    return [np.kron(rng.integers(0, 256, (3, 4, 3), np.uint8), np.ones((6, 4, 1), np.uint8)) for _ in range(count)]


def measured(explainer: gs.Explainer, **options: Any) -> Evaluation:
    marks = Marks((LabelledBox("bee", (1, 2, 12, 9)), LabelledBox("dog", (6, 0, 18, 12))))
    boxes = Annotations({f"photo {i}": marks for i in range(6)})
    return gs.evaluate(explainer, photos(6), methods=["gradcam", "layercam", "gradient"], metrics=METRICS,
                       boxes=boxes, **options)  # fmt: skip


def test_figures_are_those_of_the_twin_s(pair: Any) -> None:
    ours, theirs = (measured(explainer) for explainer in pair)
    assert [(row.image, row.index, row.target, row.method, row.metric) for row in theirs.rows] == [
        (row.image, row.index, row.target, row.method, row.metric) for row in ours.rows
    ]
    assert {row.layer for row in theirs.rows} == {"", frameworks.at("4")}
    for one, other in zip(ours.rows, theirs.rows, strict=True):
        assert other.value == pytest.approx(one.value, abs=2e-4, nan_ok=True), one
    for one, other in zip(ours.summary, theirs.summary, strict=True):
        # The ends of an interval hang on how many resamples lie below the mean, and of equal ones rounding says that.
        assert other.mean == pytest.approx(one.mean, abs=2e-4)
        assert (other.n, other.better, other.control) == (one.n, one.better, one.control)


def test_the_same_way_is_recommended(pair: Any) -> None:
    ours, theirs = (
        gs.recommend(explainer, photos(16), by={"averagedrop": 1}, methods=["gradcam", "layercam", "fem"])
        for explainer in pair
    )
    assert (theirs.best.method, theirs.is_better, theirs.held_out) == (ours.best.method, ours.is_better, 8)
    assert theirs.best.layer == frameworks.at(ours.best.layer)
    assert theirs.p == pytest.approx(ours.p, nan_ok=True)
    assert theirs.advantage.mean == pytest.approx(ours.advantage.mean, abs=1e-3)
