"""Runs opened again: explanations are those of the Explainer to float16, and draw themselves on the same photo."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pyarrow import compute, parquet

import gradsight as gs
import stores
import toys
from gradsight.errors import ImageError, InvalidArgument, InvalidType, MissingDependency, UnknownName
from gradsight.results.explanation import Explanation
from gradsight.results.explanations import Explanations
from gradsight.runs import fingerprint, looking, maps, reading
from gradsight.runs.opened import Run, open_run
from gradsight.runs.schema import RunRow
from gradsight.runs.stored import StoredExplanation, explanations_of
from gradsight.runs.table import table_of
from gradsight.targets import TargetInfo

pytestmark = pytest.mark.pytorch


def picture(seed: int, size: tuple[int, int] = (90, 60)) -> Image.Image:
    rng = np.random.default_rng(seed)
    drawn = Image.fromarray(rng.integers(0, 120, (size[1], size[0], 3), np.uint8))
    ImageDraw.Draw(drawn).ellipse((10 + 3 * seed, 12, 40 + 3 * seed, 40), fill=(250, 200, 30))
    return drawn


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An explainer of two methods and three classes, photos, its explanations of them, and a run of these."""
    folder = tmp_path_factory.mktemp("opened")
    torch.manual_seed(0)  # a fixture of the module is made before that of a test sets it
    preprocess = gs.Preprocess(size=48, fit="crop", resize=54)
    explainer = gs.Explainer(
        toys.convolutional(), preprocess=preprocess, labels=list("abcde"), method=["gradcam", "layercam"], layer="4"
    )
    explanations, parts = {}, []
    for i in range(6):
        path = folder / "photos" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        picture(i).save(path)
        explanations[path.name] = explainer(path, targets=[gs.Top(2), gs.Contrast(0, 1)][i % 2])
        parts.append(stores.rows_of(path.name, explanations[path.name], path))
    failed = [RunRow.failed("bad.png", "it is empty", label="a")]
    first = explanations["0.png"][0]
    run = stores.write(
        folder / "run",
        [parts[0] + parts[1] + failed, [row for rows in parts[2:] for row in rows]],
        name=first.model,
        preprocess=first.preprocess,
    )
    return explanations, run, folder / "photos"


def same_to_float16(again: Explanation, before: Explanation) -> None:
    assert np.abs(again.maps - before.maps).max() <= 2**-11 * np.abs(before.maps).max()
    one, other = again.record().to_dict(), before.record().to_dict()
    for mine, theirs in zip(one.pop("targets"), other.pop("targets"), strict=True):
        # Of the map itself: these are found again in what is kept of it.
        for name in ("scale", "against"):
            mine.pop(name), theirs.pop(name)
        assert mine == theirs
    assert one == other
    for j in range(again.maps.shape[1]):
        drawn, meant = (np.asarray(x.overlay(target=j), np.int64) for x in (again, before))
        assert np.abs(drawn - meant).max() <= 4
        assert np.abs(drawn - meant).mean() < 0.1
        assert again.region(0, j) == before.region(0, j)
    assert again.heading == before.heading
    assert again.notes == before.notes


def test_explanations_are_those_of_the_explainer_to_float16(made: Any) -> None:
    explanations, folder, _ = made
    run = open_run(folder)
    assert len(run) == 6
    assert run.images == tuple(explanations)
    for i, (key, again) in enumerate(run.items()):
        assert isinstance(again, Explanations)
        for one, other, by_number, by_key in zip(again, explanations[key], run[i], run[key], strict=True):
            same_to_float16(one, other)
            assert np.array_equal(by_number.maps, one.maps)
            assert np.array_equal(by_key.maps, one.maps)
    assert np.array_equal(run[-1][0].maps, run["5.png"][0].maps)
    assert [each[0].targets for each in run] == [each[0].targets for each in explanations.values()]
    assert np.array_equal(run["1.png"][0].figure(), run["1.png"][0].figure())


def test_what_explanations_can_do_those_of_a_run_can(made: Any, tmp_path: Path) -> None:
    explanations, folder, _ = made
    again, before = open_run(folder)["2.png"][0], explanations["2.png"][0]
    assert repr(again) == repr(before)
    assert again.on_photo().shape == (60, 90)
    assert again.mask().shape == (60, 90)
    assert again.heat_image().size == (90, 60)
    assert again.photos[0].size == (90, 60)
    assert np.array_equal(again.photos[0], before.photos[0])
    assert again.photos[0] is again.photos[0]
    again.save(tmp_path / "x.npz")
    assert np.array_equal(gs.Explanation.load(tmp_path / "x.npz").maps, again.maps)
    copied = pickle.loads(pickle.dumps(again))
    assert copied.region() == again.region()
    assert np.array_equal(copied.overlay(), again.overlay())
    assert "<img" in again._repr_html_()
    assert again.in_shell().notes == again.notes
    with pytest.raises(InvalidArgument, match="`neurons` needs the gradient"):
        again.neurons()
    with pytest.raises(InvalidArgument, match="`target` must be a whole number from 0 to 1"):
        again.region(0, 2)


def test_regions_are_those_of_the_map_itself_where_float16_tells_two_places_not_apart() -> None:
    values = np.zeros((1, 1, 5, 5), np.float32)
    values[0, 0, 0, 0], values[0, 0, 4, 4], values[0, 0, 4, 0] = 1.0, 1.0001, 0.99995
    targets = ((TargetInfo(0, "a"),),)
    one = gs.Explanation(values, np.ones((1, 1), np.float32), targets, ("l",), "layer", "gradcam", "m", (5, 5))
    assert one.region() is not None
    assert one.region().peak == (4, 4)
    rows = stores.rows_of("a", [one])
    (again,) = explanations_of(rows, stores.manifest(), None)
    assert again.region().peak == (4, 4)
    assert Explanation.region(again).peak == (4, 0)
    # Without a photo positions are those of the input, and there is none to draw on.
    assert again.record().size == (5, 5)
    with pytest.raises(InvalidArgument, match="made from arrays"):
        again.overlay()


@pytest.mark.parametrize(
    "values",
    [
        [[0.0, 0.0]],
        [[1.0, -3.0], [1e-3, 1e-9]],
        [[np.nan, 1.0], [np.inf, -np.inf]],
        [[1e30, 1e-30]],
        [[1e-40, -1e-42]],
        [[np.inf, 0.0]],
    ],
)
def test_maps_are_kept_to_float16(values: Any) -> None:
    array = np.array(values, np.float32)
    content, scale = maps.packed(array)
    again = maps.unpacked(content, scale, array.shape)
    assert again.dtype == np.float32
    assert np.array_equal(np.isnan(again), np.isnan(array))
    finite = np.isfinite(array)
    assert np.array_equal(again[~finite & ~np.isnan(array)], array[~finite & ~np.isnan(array)])
    largest = np.abs(array[finite]).max(initial=0)
    error = np.abs(again[finite].astype(np.float64) - array[finite])
    assert (error <= np.maximum(2.0**-11 * np.abs(array[finite]), 2.0**-25 * largest) + 1e-45).all()


def test_a_photo_that_is_gone_or_another_is_told_and_not_drawn_on(made: Any, tmp_path: Path) -> None:
    _, folder, photos = made
    moved = tmp_path / "elsewhere"
    shutil.copytree(photos, moved)
    run = open_run(folder)
    one = run["0.png"][0]
    path = photos / "0.png"
    content = path.read_bytes()
    try:
        path.unlink()
        with pytest.raises(ImageError, match=r"the photo of '0.png' cannot be drawn on\. There is no file") as caught:
            one.overlay()
        assert "photos=folder" in str(caught.value)
        # What needs no photo goes on.
        assert one.record().width == 90
        assert one.on_photo().shape == (60, 90)
        assert one.heat_image().size == (90, 60)
        assert "cannot be drawn on" in one._repr_html_()
        assert "cannot be drawn on" in run._repr_html_()
        for change, words in (
            (lambda: picture(7).save(path), "its content is another"),
            (lambda: picture(0, (80, 60)).save(path), "it has 80 x 60 pixels, and had 90 x 60"),
            (lambda: path.write_bytes(b"nothing"), "cannot be read"),
            (lambda: path.write_bytes(content + b" "), "its content is another"),
        ):
            change()
            with pytest.raises(ImageError, match=words):
                run["0.png"][0].overlay()
        # Where they are now, in each form.
        with Image.open(moved / "0.png") as opened:
            pictured = opened.copy()
        for now in (moved, str(moved), {"0.png": moved / "0.png"}, lambda key: (moved / key).read_bytes(),
                    {"0.png": pictured}):  # fmt: skip
            drawn = open_run(folder, photos=now)["0.png"][0].overlay()
        with pytest.raises(ImageError, match="it has 80 x 60"):
            open_run(folder, photos=lambda key: picture(0, (80, 60)))["0.png"][0].overlay()
        with pytest.raises(ImageError, match=r"`photos` failed for '0.png': .*division"):
            open_run(folder, photos=lambda key: 1 / 0)["0.png"][0].overlay()  # type: ignore[arg-type,return-value]
    finally:
        path.write_bytes(content)
    # An error is not kept: the photo is there again.
    assert np.array_equal(one.overlay(), drawn)
    with pytest.raises(InvalidType, match="`photos` must be a folder"):
        open_run(folder, photos=5)  # type: ignore[arg-type]


def test_photos_of_memory_are_told_by_their_pixels(tmp_path: Path) -> None:
    shown, array = picture(1), np.asarray(picture(1))
    assert fingerprint.of(shown) == fingerprint.of(array) == fingerprint.of_pixels(shown)
    rows = stores.plain_rows(["a"], fingerprint=fingerprint.of(shown), width=90, height=60, seen=(0.0, 0.0, 60.0, 90.0))
    folder = stores.write(tmp_path / "run", [rows])
    with pytest.raises(ImageError, match=r"given in memory, and a run keeps none.*photos=\{key: photo\}"):
        open_run(folder)[0].overlay()
    assert open_run(folder, photos={"a": shown})[0].overlay().size == (90, 60)
    shown.save(tmp_path / "a.png")
    assert open_run(folder, photos={"a": tmp_path / "a.png"})[0].overlay().size == (90, 60)
    with pytest.raises(ImageError, match="its content is another"):
        open_run(folder, photos={"a": picture(2)})[0].overlay()
    # A key of a stranger's does not lead out of the folder that was named.
    out = stores.plain_rows(["../a.png"], width=90, height=60, seen=(0.0, 0.0, 60.0, 90.0))
    (tmp_path / "in").mkdir()
    with pytest.raises(ImageError, match="a run keeps none"):
        open_run(stores.write(tmp_path / "other", [out]), photos=tmp_path / "in")[0].overlay()


def test_what_failed_is_told_apart(made: Any) -> None:
    _, folder, _ = made
    run = open_run(folder)
    assert run.failed == (("bad.png", "it is empty"),)
    assert "bad.png" not in run
    assert "0.png" in run
    assert 0 not in run
    with pytest.raises(ImageError, match=r"'bad.png' was not explained: it is empty"):
        run["bad.png"]
    with pytest.raises(UnknownName, match=r"There is no image '0.jpg'\. Did you mean '0.png'"):
        run["0.jpg"]
    with pytest.raises(InvalidArgument, match=r"`image` must be a whole number .* The run has 6 images"):
        run[6]
    assert repr(run) == f"Run({str(folder)!r}, 6 images, 1 failed, model {run.manifest.name})"
    assert run.filter(status="failed").failed == run.failed
    assert len(run.filter(status="failed")) == 0


FILTERS: list[tuple[Any, dict[str, Any], Callable[[RunRow], bool]]] = [
    ("method == 'gradcam'", {}, lambda row: row.method == "gradcam"),
    ("score > 0 and not prediction_label == 'a'", {}, lambda row: (row.score or 0) > 0 and row.prediction_label != "a"),
    ("0 <= target < 1 or signed", {}, lambda row: row.target == 0 or bool(row.signed)),
    ("index is None", {}, lambda row: row.index is None),
    ("index is not None and index != prediction", {}, lambda row: row.index not in (None, row.prediction)),
    ("'a' not in sides", {}, lambda row: "a" not in row.sides),
    ("'4' in layers", {}, lambda row: "4" in row.layers),
    ("target_label in ('a', 'b')", {}, lambda row: row.target_label in ("a", "b")),
    ("label != prediction_label", {}, lambda row: False),
    ("'3.p' in key", {}, lambda row: "3.p" in row.key),
    ("'a' not in target_label", {}, lambda row: row.target_label is not None and "a" not in row.target_label),
    (None, {"method": "layercam", "target": 0}, lambda row: (row.method, row.target) == ("layercam", 0)),
    (None, {"index": None}, lambda row: row.index is None),
    (None, {"target_label": ["a", "c"]}, lambda row: row.target_label in ("a", "c")),
    (None, {"sides": "b"}, lambda row: "b" in row.sides),
    (compute.field("score") > 0.1, {}, lambda row: (row.score or 0) > 0.1),
    (lambda row: row.key == "3.png" and row.target == 0, {}, lambda row: row.key == "3.png" and row.target == 0),
]


@pytest.mark.parametrize(("where", "values", "meant"), FILTERS, ids=map(str, range(len(FILTERS))))
def test_rows_are_filtered(made: Any, where: Any, values: dict[str, Any], meant: Callable[[RunRow], bool]) -> None:
    run = open_run(made[1])
    wanted = [row for row in run.rows() if row.status == "explained" and meant(row)]
    found = run.filter(where, **values).filter(status="explained")
    assert list(found.rows()) == wanted
    assert found.images == tuple(dict.fromkeys(row.key for row in wanted))
    assert len(found) == len(found.images)
    kept = {(row.key, row.method, row.target_label) for row in wanted}
    for key, again in found.items():
        several = again if isinstance(again, Explanations) else [again]
        assert {(key, one.method, label) for one in several for label in one.labels[0]} == {
            row for row in kept if row[0] == key
        }


def test_one_method_of_several_gives_one_explanation(made: Any) -> None:
    run = open_run(made[1]).filter(method="gradcam")
    assert isinstance(run[0], StoredExplanation)
    assert run[3].maps.shape[:2] == (1, 1)
    assert "1 target" not in repr(run)


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("scor > 3", UnknownName, "no column 'scor'.*'score'"),
        ("score = 3", InvalidArgument, "`where` must be a condition of the columns"),
        ("score > 'a'", InvalidArgument, "`where` must be a condition"),
        ("__import__('os').system('x')", InvalidArgument, "`where` must be"),
        ("score", InvalidArgument, "`where` must be"),
        ("(" * 5000, InvalidArgument, "`where` must be"),
        ("score > 9**9**9", InvalidArgument, "`where` must be"),
        ("score is 3", InvalidArgument, "`where` must be"),
        ("score in 3", InvalidArgument, "`where` must be"),
        ("3 in key", InvalidArgument, "`where` must be"),
        ("3 in score", InvalidArgument, "`where` must be"),
        ("method in ('gradcam')", InvalidArgument, "`where` must be"),
        ("", InvalidArgument, "`where` must be"),
        (compute.field("scor") > 3, InvalidArgument, "`where` does not fit the rows"),
        (5, InvalidType, "`where` must be a text such as"),
    ],
)
def test_a_condition_that_is_none_is_refused_in_words(made: Any, where: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        len(open_run(made[1]).filter(where))


def test_a_part_of_the_images(made: Any) -> None:
    run = open_run(made[1])
    assert run[1:4].images == run.images[1:4]
    assert run[::2][1:].images == run.images[2::2]
    assert run[:3].filter(method="gradcam").images == run.images[:3]
    assert {row.key for row in run[2:3].rows()} == {"2.png"}
    assert run[2:3].failed == ()
    assert len(run[10:]) == 0
    assert run.filter(method="gradcam")[4:].filter(target=0).images == run.images[4:]
    with pytest.raises(InvalidArgument, match="`image` must be a whole number of at least 1"):
        run[::-1]


def test_tables(made: Any) -> None:
    run = open_run(made[1])
    table = run.table()
    assert table.num_rows == 6 * 2 * 2 - 3 * 2 + 1
    assert set(table.column_names) == set(RunRow.__dataclass_fields__) - {"map", "features"}
    assert run.table(["key", "map"]).column_names == ["key", "map"]
    assert sum(len(piece) for piece in run.tables(["key"])) == table.num_rows
    assert run.filter(key="nothing").table(["key"]).num_rows == 0
    with pytest.raises(UnknownName, match="no column 'maps'"):
        run.table(["maps"])
    for columns in ("key", 5, [5], [], 0.5):
        with pytest.raises((InvalidArgument, InvalidType), match="`columns` must be"):
            run.table(columns)  # type: ignore[arg-type]


def test_a_table_of_pandas(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(made[1])
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingDependency, match="pip install pandas"):
        run.to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    frame = run.to_pandas()
    assert len(frame) == len(run.table())
    # Classes are whole numbers also where one is missing.
    assert str(frame["index"].dtype) == "Int32"
    assert frame["index"].isna().sum() == 7
    assert frame["score"].notna().sum() == len(frame) - 1


def test_a_run_is_looked_through_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [stores.plain_rows([f"{p}-{i}" for i in range(40)]) for p in range(5)]
    monkeypatch.setattr("gradsight.runs.parts._GROUP_ROWS", 10)
    run = open_run(stores.write(tmp_path / "run", parts))
    assert [len(piece) for piece in run.tables()] == [10] * 20
    read = []
    whole = reading.Part.read
    monkeypatch.setattr(reading.Part, "read", lambda *given: (read.append(given[1:2]), whole(*given))[1])
    seen = [key for key, _ in run.items()]
    assert seen == [f"{p}-{i}" for p in range(5) for i in range(40)]
    # Each row group is read once when images are taken in their order, and few are kept.
    assert len(read) == 20
    assert len(run._looking._groups) == looking._GROUPS
    # An index holds no texts: some numbers for each image.
    assert run._index.places.itemsize <= 48


def test_an_image_is_in_a_run_once(tmp_path: Path) -> None:
    rows = stores.plain_rows(["a", "b"])
    folder = stores.write(
        tmp_path / "run",
        [[RunRow.failed("b", "first"), *rows[:1]], rows, [RunRow.failed("a", "later"), RunRow.failed("c", "no")]],
    )
    run = open_run(folder)
    assert run.images == ("a", "b")
    assert run.failed == (("c", "no"),)
    assert run.table(["key"])["key"].to_pylist() == ["a", "b", "c"]
    assert len(list(run.rows())) == 3


def test_rows_of_one_image_may_go_on_in_the_next_group(tmp_path: Path) -> None:
    # As another program may write a part anew.
    folder = stores.write(tmp_path / "run", [])
    rows = [row for key in "abc" for row in stores.plain_rows([key] * 3)]
    parquet.write_table(table_of(rows), folder / "rows" / "all.parquet", row_group_size=2)
    run = open_run(folder)
    assert run.images == ("a", "b", "c")
    assert [one.maps.shape[1] for one in run] == [3, 3, 3]
    assert run.table(["key"]).num_rows == 9


def test_an_older_version_is_read_and_a_newer_one_refused(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [])
    table = table_of(stores.plain_rows(["a"], entropy=0.5))
    path = folder / "rows" / "a.parquet"
    # Of a version that had fewer columns, other types of numbers, and one that was dropped since.
    older = table.drop_columns(["entropy", "notes", "note_texts", "sides", "label_index"])
    older = older.set_column(older.column_names.index("score"), "score", older["score"].cast("double"))
    older = older.append_column("dropped", older["score"]).replace_schema_metadata({"gradsight.version": "0"})
    parquet.write_table(older, path)
    run = open_run(folder)
    assert run[0].scores[0, 0] == 2.5
    (row,) = run.rows()
    assert (row.entropy, row.notes, row.sides) == (None, (), ())
    assert len(run.filter("entropy is None")) == 1
    for metadata in ({"gradsight.version": "2"}, {}, {"gradsight.version": "x"}):
        parquet.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(InvalidArgument, match=r"must be of version 1 or older.*Update gradsight"):
            len(open_run(folder))


def test_what_is_no_run_is_refused_in_words(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing", "\0"):
        with pytest.raises(InvalidArgument, match=r"`run` must be the folder of a run.*gradsight run PHOTOS --out RUN"):
            open_run(place)
    with pytest.raises(InvalidType, match="`run` must be"):
        open_run(5)  # type: ignore[arg-type]
    (tmp_path / "manifest.json").write_text(stores.manifest().to_json())
    with pytest.raises(InvalidArgument, match="cannot be read as a folder of the rows of a run"):
        open_run(tmp_path)


def test_runs_are_copied_to_other_processes(made: Any) -> None:
    run = open_run(made[1]).filter("method == 'gradcam'", target=0)[1:3]
    copied = pickle.loads(pickle.dumps(run))
    assert isinstance(copied, Run)
    assert copied.images == run.images
    assert np.array_equal(copied[0].overlay(), run[0].overlay())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_nothing_reads_ahead_in_a_thread_of_arrow(made: Any, subprocess_env: dict[str, str]) -> None:
    # It lets go of a file of Python's when it likes to: where Python ends just then, the process is aborted.
    code = (
        "import os, sys, pyarrow.parquet, gradsight as gs\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "rows = list(gs.open_run(sys.argv[1]).table().to_pylist())\n"
        "print(len(rows), len(os.listdir('/proc/self/task')) - before)"
    )
    command = [sys.executable, "-c", code, str(made[1])]
    done = subprocess.run(command, env=subprocess_env, capture_output=True, text=True, check=True)
    rows, threads = map(int, done.stdout.split())
    assert rows
    assert threads == 0
