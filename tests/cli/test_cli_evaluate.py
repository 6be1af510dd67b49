"""`gradsight evaluate` and `gradsight metrics`: the table, the files, what failed, and how it goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import commands
from commands import MODEL, lines, paint, run
from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.measuring import Measuring
from gradsight.metric_registry import METRICS

here, models = commands.here, commands.models  # fixtures
KEYS = {"layer", "method", "metric", "mean", "low", "high", "n", "better", "rank", "beats_random_p"}


def evaluate(*arguments: object, source: str = "photos"):
    return run(
        "evaluate",
        source,
        "--model",
        MODEL,
        "--method",
        "gradcam",
        "--metric",
        "averagedrop",
        "--out",
        "out",
        *arguments,
    )


@pytest.fixture
def photos(here: Path) -> Path:
    for i in range(3):
        paint(here / "photos" / f"{i}.png", (448, 448 + 64 * i))
    return here


def test_json_has_a_line_for_each_layer_method_and_metric(photos) -> None:
    result = evaluate("--json", "--metric", "deletion(steps=2, baseline=white)")
    assert result.exit_code == 0, result.stderr
    found = lines(result.stdout)
    assert {(row["method"], row["metric"]) for row in found} == {
        (method, metric)
        for method in ("gradcam", "random", "edge", "centre")
        for metric in ("averagedrop", "deletion(baseline='white', steps=2)")
    }
    assert all(row.keys() >= KEYS and row["n"] == 3 and row["better"] == "lower" for row in found)
    by_method = {row["method"]: row for row in found if row["metric"] == "averagedrop"}
    assert by_method["edge"]["layer"] is None
    assert by_method["gradcam"]["layer"] == "block"
    assert by_method["random"]["beats_random_p"] is None
    assert by_method["gradcam"]["low"] is None  # three photos say no interval
    saved = Evaluation.load("out")
    assert [row["mean"] for row in found] == [one.mean for one in saved.summary]
    assert {path.name for path in Path("out").iterdir()} == {
        "measured.jsonl", "results.json", "results.parquet", "results.png"
    }  # fmt: skip


def test_the_table_names_methods_and_says_what_is_explained(photos) -> None:
    result = evaluate()
    assert result.exit_code == 0, result.stderr
    assert "averagedrop (low is good)" in result.stdout
    assert all(name in result.stdout for name in ("gradcam", "random", "edge", "centre"))
    assert "the model's best class of each photo" in result.stderr


def test_columns_go_on_below_where_a_terminal_is_narrow(monkeypatch, capsys) -> None:
    from gradsight.cli import terminal

    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.say_bands(["", "first", "second", "third"], [["gradcam", "1", "2", "3"], ["random", "4", "5", "6"]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    tables = [[line.split() for line in part.splitlines()] for part in shown.split("\n\n")]
    assert tables == [
        [["first"], ["gradcam", "1"], ["random", "4"]],
        [["second"], ["gradcam", "2"], ["random", "5"]],
        [["third"], ["gradcam", "3"], ["random", "6"]],
    ]


def test_folders_are_labels_where_the_model_has_such_classes(here) -> None:
    for name in ("red", "Blue"):
        paint(here / "photos" / name / "1.png")
    assert evaluate().exit_code == 0
    rows = [row for row in Evaluation.load("out").rows if row.method == "gradcam"]
    assert {row.image: row.target for row in rows} == {"photos/red/1.png": "red", "photos/Blue/1.png": "blue"}
    paint(here / "photos" / "cow" / "1.png")
    result = evaluate("--overwrite")
    assert "'cow' is called like no class" in result.stderr
    assert {row.target for row in Evaluation.load("out").rows} == {"red"}


def test_what_is_broken_is_named_and_the_rest_is_done(photos) -> None:
    (photos / "photos" / "1.png").write_bytes(b"none")
    boxes = {
        "images": [{"id": 1, "file_name": "0.png", "width": 448, "height": 448}, {"id": 2, "file_name": "x.png"}],
        "categories": [{"id": 1, "name": "red"}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [256, 64, 128, 128]} for i in (1, 2)],
    }
    Path("boxes.json").write_text(json.dumps(boxes))
    result = evaluate("--boxes", "boxes.json", "--metric", "pointing", "--json")
    assert result.exit_code == 0, result.stderr
    assert "'x.png'" in result.stderr
    hit = next(row for row in lines(result.stdout) if (row["method"], row["metric"]) == ("gradcam", "pointing"))
    assert (hit["mean"], hit["n"]) == (1, 1)
    result = evaluate("--overwrite")
    assert result.exit_code == 1
    assert "1.png" in result.stderr
    assert "1 of 3 photos; the others are done" in result.stderr
    assert Evaluation.load("out").failed[0].image.endswith("1.png")


def test_it_goes_on_where_it_ended(photos, monkeypatch) -> None:
    whole = evaluate()
    assert whole.exit_code == 0
    before = Evaluation.load("out")
    kept = Path("out/measured.jsonl").read_text().splitlines()
    Path("out/measured.jsonl").write_text("\n".join([*kept[:2], kept[2][:50]]))  # ended while it wrote the second
    measured: list[str] = []
    real = Measuring.__call__

    def counted(self, items, prepared):
        measured.extend(item.name for item in items)
        return real(self, items, prepared)

    monkeypatch.setattr(Measuring, "__call__", counted)
    result = evaluate("--resume")
    assert result.exit_code == 0, result.stderr
    assert sorted(measured) == [str(Path("photos", f"{i}.png")) for i in (1, 2)]
    assert "1 of 3 photos were done before" in result.stderr
    assert repr(Evaluation.load("out").rows) == repr(before.rows)
    assert evaluate("--resume").exit_code == 0
    assert len(measured) == 2


@pytest.mark.parametrize("other", [("--method", "layercam"), ("--seed", "1"), ("--model", "cli_models:tokens")])
@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_other_settings_are_refused(photos, other, resume) -> None:
    assert evaluate().exit_code == 0
    result = evaluate(*other, *resume)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert other[0].strip("-") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metric", "pointing"), "needs to know where things are"),
        (("--metric", "deletoin"), "deletion"),
        (("--method", "gradcma"), "gradcam"),
        (("--boxes", "none.json"), "none.json"),
    ],
)
def test_wrong_usage(photos, arguments, words) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_metrics_are_listed() -> None:
    result = run("metrics", "--json")
    assert result.exit_code == 0
    rows = lines(result.stdout)
    assert [row["name"] for row in rows] == list(METRICS)
    assert all(row["title"] and row["summary"] and row["source"] for row in rows)
    plain = run("metrics").stdout
    assert all(metric.title in plain for metric in METRICS.values())
    assert "lower is better, 0 to 1; passes: 28; scores the probability" in plain


def test_recommend_prints_what_to_use(here) -> None:
    for i in range(16):
        paint(here / "photos" / f"{i}.png", (448, 448 + 32 * i))
    arguments = ("recommend", "photos", "--model", MODEL, "--method", "gradcam", "--method", "fem", "--layer", "block")
    result = run(*arguments, "--by", "averagedrop=2", "--by", "gini", "--json")
    assert result.exit_code == 0, result.stderr
    (found,) = lines(result.stdout)
    assert found["command"].startswith(f"gradsight explain photo.jpg --model {MODEL} --method ")
    assert [one["metric"] for one in found["metrics"]] == ["averagedrop", "gini"]
    assert found["advantage"]["n"] == 8
    for wrong in (("--by", "speed"), ("--by", "deletion=much"), ("--by", "pointing")):
        assert run(*arguments, *wrong).exit_code == 2
