"""What is tried of the first photos before a run: the run takes it over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.inputs import Prepared
from gradsight.imaging import Preprocess
from gradsight.runs import begun, trial
from gradsight.runs.engines import local
from gradsight.runs.making import Making

COLUMNS = ["key", "status", "target", "score", "peak", "box", "area", "map", "scale", "border", "entropy", "notes"]


class OfTwo(BatchSize):
    """Two photos at once are quickest, whatever the clock says."""

    def timed(self, count: int, seconds: float) -> None:
        super().timed(count, count / (1.0 if count == 1 else 2.0))


@pytest.fixture
def explainer() -> gs.Explainer:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
    )
    return gs.Explainer(net.eval(), preprocess=gs.Preprocess(32), layer="0")


@pytest.fixture
def photos() -> list[tuple[str, object]]:
    rng = np.random.default_rng(1)
    found = [(str(i), Image.fromarray(rng.integers(0, 256, (40, 40 + i, 3), np.uint8))) for i in range(9)]
    return [*found[:3], ("broken", b"?"), *found[3:]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The sizes of the batches that pass the model, and the pictures that are made inputs."""
    told: dict[str, list[Any]] = {"passed": [], "read": []}
    explained, place = Making.explained, Preprocess.place

    def passing(self: Making, prepared: Sequence[Prepared]) -> object:
        told["passed"].append(len(prepared))
        return explained(self, prepared)

    def reading(self: Preprocess, image: Image.Image) -> object:
        told["read"].append(image.size)
        return place(self, image)

    monkeypatch.setattr(Making, "explained", passing)
    monkeypatch.setattr(Preprocess, "place", reading)
    monkeypatch.setattr(trial, "BatchSize", OfTwo)
    few: Any = 0.01
    monkeypatch.setattr(local, "Worth", partial(trial.Worth, share=few))  # of few photos too the number is looked for
    return told


def run(photos: object, explainer: gs.Explainer, out: Path, **how: Any) -> list[dict[str, Any]]:
    done = gs.run(photos, explainer, out=out, targets=gs.Top(2), **how)
    assert done.manifest.batch_size == 2
    return done.table(COLUMNS).to_pylist()


@pytest.mark.parametrize("features", [False, True])
def test_what_was_tried_is_not_done_again(
    explainer: gs.Explainer, photos: Any, counted: dict[str, list[Any]], tmp_path: Path, features: bool
) -> None:
    found = run(photos, explainer, tmp_path / "a", features=features)
    # 1 and 1, 2 and 2, then 4 and 4, which is no quicker: of nine photos two batches of two are there already.
    assert counted["passed"] == [1, 1, 2, 2, 4, 4, 2, 2, 1]
    assert len(counted["read"]) == 9
    counted["passed"].clear()
    assert found == run(photos, explainer, tmp_path / "b", features=features, batch_size=2)
    assert counted["passed"] == [1, 2, 2, 2, 2, 1]


def test_large_photos_are_read_again(
    explainer: gs.Explainer, photos: Any, counted: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun, "_MOST_PIXELS", 1000)
    found = run(photos, explainer, tmp_path / "a")
    assert counted["passed"] == [1, 1, 2, 2, 4, 4, 2, 2, 2, 2, 1]
    assert len(counted["read"]) == 9 + 8
    assert found == run(photos, explainer, tmp_path / "b", batch_size=2)
