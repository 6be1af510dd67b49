"""Runs in one process: rows are what an Explainer says, whatever is broken, and whenever it was ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, UnknownName
from gradsight.runs.concentration import concentrations_of
from gradsight.runs.drawn import contact_sheet, overlays
from gradsight.runs.engines import local
from gradsight.runs.plan import Plan
from gradsight.runs.progress import Progress
from gradsight.runs.rows import Labelling
from gradsight.runs.schema import RunRow

pytestmark = pytest.mark.pytorch
LABELS = tuple(f"class {i}" for i in range(5))
ROWS: list[int] = []


class Net(torch.nn.Module):
    """It notes how many rows its passes had, and ends or fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = toys.convolutional()
        self.ended_after, self.dark = 10**9, False

    def forward(self, x: torch.Tensor) -> Any:
        ROWS.append(len(x))
        if sum(ROWS) > self.ended_after:
            raise KeyboardInterrupt
        if self.dark and bool((x.mean((1, 2, 3)) < -0.99).any()):
            raise RuntimeError("it is too dark here")
        return self.body(x)


def explainer(net: Net | None = None, **options: Any) -> gs.Explainer:
    options = {"layer": "body.2", "preprocess": gs.Preprocess(16, mean=(0.5,) * 3, std=(0.5,) * 3), **options}
    return gs.Explainer((net or Net()).eval(), labels=LABELS, name="net", **options)


def folder_of(folder: Path, count: int, broken: tuple[int, ...] = (), dark: tuple[int, ...] = ()) -> Path:
    random = np.random.default_rng(1)
    for i in range(count):
        path = folder / f"class {i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (20 + i % 2, 30, 3), np.uint8) * (i not in dark)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos"), 150, broken=(7, 70))


def rows_in(run: gs.Run) -> list[RunRow]:
    return list(run.rows())


def test_maps_are_those_of_the_explainer_to_float16_and_records_the_same(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 20, broken=(7,))
    own = explainer(method=["gradcam", "gradient"], targets=gs.Top(3))
    made = gs.run(photos, own, out=tmp_path / "run", batch_size=1)
    assert (len(made), len(made.failed)) == (19, 1)
    by_key: dict[str, list[RunRow]] = {}
    for row in rows_in(made):
        by_key.setdefault(row.key, []).append(row)
    for key in made.images[::3]:
        direct = own(photos / key)
        for ours, stored in zip(direct, made[key], strict=True):
            largest = np.abs(ours.maps).max(axis=(2, 3), keepdims=True)
            assert (np.abs(ours.maps - stored.maps) <= 2.0**-11 * np.abs(ours.maps) + 3e-8 * largest).all()
        expected = [(each.method, j, target) for each in direct for j, target in enumerate(each.record().targets)]
        for row, (method, j, target) in zip(by_key[key], expected, strict=True):
            assert (row.method, row.target, row.index, row.target_label) == (method, j, target.index, target.label)
            assert (row.peak, row.box, row.area, row.signed) == (target.peak, target.box, target.area, target.signed)
            assert row.score == pytest.approx(target.score, rel=1e-6)
            assert row.notes == tuple(note.code for note in target.notes)
            assert (row.label, row.label_index) == (f"class {int(Path(key).stem) % 3}", int(Path(key).stem) % 3)
            assert row.top == direct[0].predictions[0][:5]


def test_regions_survive_the_way_and_the_folders_of_a_run_are_left_alone(photos: Path, tmp_path: Path) -> None:
    own = explainer()
    made = gs.run(photos, own, out=tmp_path / "run", batch_size=32)
    again = gs.open_run(tmp_path / "run")
    first = again[0]
    assert isinstance(first, gs.Explanation)
    direct = own(photos / made.images[0])
    assert first.region() == direct.region()
    assert np.abs(np.asarray(first.overlay()).astype(int) - np.asarray(direct.overlay())).max() <= 1
    ROWS.clear()
    gs.run(photos, own, out=tmp_path / "other", batch_size=32)
    assert sum(ROWS) == 148 + 1  # each photo once, and the first one tried before


def test_a_run_goes_on_with_the_layer_that_it_began_with(tmp_path: Path) -> None:
    """Where nobody names a layer: what would be chosen by other photos, or another version, is told, not mixed in."""
    photos = folder_of(tmp_path / "photos", 3)
    unnamed = explainer(layer=None)
    gs.run(photos, unnamed, out=tmp_path / "run", batch_size=1)
    folder_of(tmp_path / "photos", 5)
    path = tmp_path / "run" / "manifest.json"
    text = path.read_text(encoding="utf-8")
    chosen = json.loads(text)["layers"]
    assert len(chosen) == 1
    path.write_text(text.replace(chosen[0], "body.0"), encoding="utf-8")
    with pytest.raises(InvalidArgument, match=rf"of body.0, .* left would be of {chosen[0]}\. Name a layer"):
        gs.run(photos, unnamed, out=tmp_path / "run", batch_size=1)
    path.write_text(text, encoding="utf-8")
    assert len(gs.run(photos, unnamed, out=tmp_path / "run", batch_size=1)) == 5


def test_a_run_that_was_ended_goes_on_and_has_the_same_bits(photos: Path, tmp_path: Path) -> None:
    whole = gs.run(photos, explainer(targets=gs.Top(2)), out=tmp_path / "whole", batch_size=16)
    net = Net()
    for after in (90, 70, 10**9):
        ROWS.clear()
        net.ended_after = after
        try:
            gs.run(photos, explainer(net, targets=gs.Top(2)), out=tmp_path / "run", batch_size=16)
        except KeyboardInterrupt:
            there = len(gs.open_run(tmp_path / "run"))
            assert 0 < there < 148
    found = gs.open_run(tmp_path / "run")
    assert found.manifest.complete
    assert len(list((tmp_path / "run/rows").iterdir())) > 1
    assert found.table([*RunRow.__dataclass_fields__]).equals(whole.table([*RunRow.__dataclass_fields__]))
    ROWS.clear()
    gs.run(photos, explainer(net, targets=gs.Top(2)), out=tmp_path / "run", batch_size=16)
    assert not ROWS  # all is done


def test_parts_hold_whole_blocks_and_are_told(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_SECONDS", 0.0)  # each block is a part
    told: list[Progress] = []
    gs.run(photos, explainer(), out=tmp_path / "run", batch_size=8, progress=told.append)
    parts = sorted((tmp_path / "run/rows").iterdir())
    assert [len(set(parquet.read_table(part)["key"].to_pylist())) for part in parts] == [32] * 4 + [22]
    written = [now for now in told if now.part]
    assert [(now.part, now.rows) for now in written] == [
        (part.name, n) for part, n in zip(parts, [32] * 4 + [22], strict=True)
    ]
    assert (written[-1].done, written[-1].total, written[-1].failed) == (150, 150, 2)
    assert Plan(8).block == 32


def test_a_photo_that_the_model_fails_on_is_a_row(tmp_path: Path) -> None:
    net = Net()
    net.dark = True
    folder = folder_of(tmp_path / "photos", 20, dark=(3,))
    made = gs.run(folder, explainer(net), out=tmp_path / "run", batch_size=8)
    assert made.failed == (("class 0/003.png", made.failed[0][1]),)
    assert "RuntimeError: it is too dark here" in made.failed[0][1]
    assert len(made) == 19


def test_what_fits_no_photo_ends_it_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no class 'nothing'"):
        gs.run(photos, explainer(targets="nothing"), out=tmp_path / "run")
    with pytest.raises(InvalidArgument, match="12"):
        gs.run(photos, explainer(targets=12), out=tmp_path / "run")
    # A slip does not take the folder.
    assert len(gs.run(photos, explainer(targets=1), out=tmp_path / "run", batch_size=32)) == 148
    with pytest.raises(InvalidArgument, match=r"is a run of something else.*targets"):
        gs.run(photos, explainer(targets=2), out=tmp_path / "run")
    other = Net()
    torch.nn.init.constant_(next(other.parameters()), 0.5)
    with pytest.raises(InvalidArgument, match=r"is a run of something else.*weights"):
        gs.run(photos, explainer(other, targets=1), out=tmp_path / "run")
    # The batch size that was found is kept.
    assert len(gs.run(photos, explainer(targets=1), out=tmp_path / "run")) == 148


def test_all_broken_is_a_run_of_failures(tmp_path: Path) -> None:
    made = gs.run(folder_of(tmp_path / "photos", 3, broken=(0, 1, 2)), explainer(), out=tmp_path / "run")
    assert (len(made), len(made.failed)) == (0, 3)
    assert made.manifest.complete
    assert (made.manifest.images, made.manifest.failed) == (3, 3)


def test_features_are_the_mean_activations_where_the_map_is_hot(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 10)
    own = explainer(method=["gradcam", "gradient"], targets=gs.Top(2))
    made = gs.run(photos, own, out=tmp_path / "run", batch_size=8, features=True)
    rows = [row for row in rows_in(made) if row.key == made.images[5]]
    seen: list[torch.Tensor] = []
    handle = own.model.model.body[2].register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    explained = own(photos / made.images[5])[0]
    inputs = torch.from_numpy(own.preprocess(Image.open(photos / made.images[5])))[None]  # type: ignore[misc]
    own.model.model(inputs)
    handle.remove()
    for j, row in enumerate(rows[:2]):
        heat = explained.maps[0, j].clip(0)
        hot = (heat >= 0.5 * heat.max()) & (heat > 0)
        if not hot.any():
            assert row.features is None
            continue
        expected = seen[-1][0].numpy()[:, hot].mean(axis=1)
        np.testing.assert_allclose(np.frombuffer(row.features or b"", "<f2"), expected, rtol=2e-3, atol=2e-3)
    # A map of the input is of no layer.
    assert all(row.features is None for row in rows[2:])


def test_the_border_and_the_entropy_of_heat() -> None:
    centre, edge, even = np.zeros((10, 10)), np.zeros((10, 10)), np.ones((10, 10))
    centre[4, 4], edge[:, 0] = 3.0, 2.0
    inner, outer, flat, nothing, negative = concentrations_of(
        np.stack([centre, edge, even, 0 * even, -centre]), [False, False, False, False, True]
    )
    assert (inner.border, inner.entropy) == (0.0, 0.0)
    assert (outer.border, outer.entropy) == (1.0, pytest.approx(0.5, abs=1e-6))
    assert (flat.border, flat.entropy) == (pytest.approx(0.36), 1.0)
    assert (nothing.border, nothing.entropy) == (None, None)
    assert (negative.border, negative.entropy) == (0.0, 0.0)
    # Cells of a coarse map are cut: a tenth of a side is seven tenths of a cell.
    assert concentrations_of(np.ones((1, 7, 7)), [False])[0].border == pytest.approx(0.36)
    row = np.zeros((1, 7, 7))
    row[0, 3, 0] = 1
    assert concentrations_of(row, [False])[0].border == pytest.approx(0.7)


def test_labels_are_read_as_the_model_s_classes() -> None:
    labelling = Labelling(("tench", "goldfish, Carassius auratus"))
    assert labelling.of("Goldfish") == ("Goldfish", 1)
    assert labelling.of(0) == ("tench", 0)
    assert labelling.of("car") == ("car", None)
    assert labelling.of(None) == (None, None)
    assert Labelling().of(3) == ("3", 3)


def test_pictures_of_a_run_stay_in_their_folder(photos: Path, tmp_path: Path) -> None:
    made = gs.run(
        [("../out.png", photos / "class 0/000.png"), ("/abs/a.png", photos / "class 1/001.png"), ("a\n:b.png", b"")],
        explainer(),
        out=tmp_path / "run",
    )
    assert len(made) == 2
    drawn = list(overlays(made, tmp_path / "pictures"))
    files = [file for one in drawn for file in one.files]
    assert len(files) == 2
    assert all(file.resolve().is_relative_to((tmp_path / "pictures").resolve()) and file.exists() for file in files)


def test_a_sheet_says_which_photos_are_gone(photos: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 4)
    made = gs.run(folder, explainer(), out=tmp_path / "run")
    (folder / "class 1/001.png").unlink()
    sheet, missing = contact_sheet(made)
    assert [one.key for one in missing] == ["class 1/001.png"]
    assert sheet.width >= 420
    with pytest.raises(InvalidArgument, match="no image of the run"):
        contact_sheet(made[:0])
