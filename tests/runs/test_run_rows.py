"""Rows of a run beside the records of the same explanations, and what it takes to make them."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from gradsight.results import records, regions
from gradsight.runs.concentration import concentrations_of
from gradsight.runs.item import Item
from gradsight.runs.maps import all_packed, packed
from gradsight.runs.rows import Labelling, rows_of


@pytest.fixture
def explainer() -> gs.Explainer:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 6, 3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 4),
    )
    return gs.Explainer(net.eval(), preprocess=gs.Preprocess(32), layer="2")


def photos(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (50 + i, 70, 3), np.uint8)) for i in range(count)]


@pytest.mark.parametrize("targets", [gs.Top(3), gs.Contrast(1, 2)], ids=["classes", "signed"])
def test_rows_say_what_records_say(explainer: gs.Explainer, targets: gs.Top) -> None:
    methods = ["gradcam", "gradient", "layercam"]  # of two shapes of maps
    found = explainer(photos(2), targets=targets, method=methods)
    rows = rows_of(found, Item("a", b""), Labelling(), 1)
    wanted = [(one, one.record(1), target) for one in found for target in one.record(1).targets]
    assert len(rows) == len(wanted)
    for row, (one, record, target) in zip(rows, wanted, strict=True):
        assert (row.method, row.layers, row.at, row.title) == (one.method, one.layers, one.at, record.title)
        assert (row.width, row.height, row.top) == (record.width, record.height, record.predictions[:5])
        for name in ("index", "score", "place", "signed", "peak", "box", "area"):
            assert getattr(row, name) == getattr(target, name), name
        assert row.target_label == target.label
        assert row.notes == tuple(note.code for note in target.notes)
        values = one.maps[1, row.target]
        assert (row.map, row.scale) == packed(values)
        assert (row.border, row.entropy) == concentrations_of(values[None], [target.signed])[0]


def test_all_maps_of_a_photo_are_measured_in_one_go(explainer: gs.Explainer) -> None:
    found = explainer(photos(1), targets=gs.Top(3), method=["gradcam", "layercam"])
    with (
        mock.patch.object(regions.imaging, "regions", side_effect=regions.imaging.regions) as laid,
        mock.patch.object(records.TargetRecord, "__init__", side_effect=AssertionError("a record is thrown away")),
    ):
        assert len(rows_of(found, Item("a", b""), Labelling())) == 6
    assert [len(call.args[0]) for call in laid.call_args_list] == [6]


def test_maps_are_packed_together_as_alone() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    maps[1], maps[2, 0, 0], maps[3, 1, 1], maps[4] = 0, np.inf, np.nan, 1e-42
    for content, scale, values in ((*pair, one) for pair, one in zip(all_packed(maps), maps, strict=True)):
        wide = values.astype(np.float64)
        largest = np.abs(wide[np.isfinite(wide)]).max()
        assert scale == (float(np.float32(largest)) or 1.0)
        np.testing.assert_array_equal(np.frombuffer(content, "<f2"), (wide / scale).astype("<f2").ravel())


def test_heat_of_several_explanations_is_measured_as_that_of_each() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 7, 7)).astype(np.float32)
    signed = np.array([[True, False, True], [False, False, True]])
    together = concentrations_of(maps, signed)
    alone = [one for each, signs in zip(maps, signed, strict=True) for one in concentrations_of(each, signs)]
    assert together == alone


def test_a_run_reads_the_same_whatever_stands_beside_a_map(explainer: gs.Explainer, tmp_path: Path) -> None:
    pictures = [(str(i), photo) for i, photo in enumerate(photos(5))]
    asked = {"targets": gs.Top(2), "batch_size": 2}
    several = gs.run(pictures, explainer, out=tmp_path / "a", methods=["gradcam", "layercam"], **asked)
    alone = gs.run(pictures, explainer, out=tmp_path / "b", methods=["layercam"], **asked)
    for name in ("key", "target", "peak", "box", "area", "map", "scale", "border", "entropy", "notes"):
        there = several.filter(method="layercam").table([name])[name].to_pylist()
        assert there == alone.table([name])[name].to_pylist(), name
