"""`gradsight run`, `merge` and `show`: what they write, say and return, and what to type next."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands
import gradsight as gs
from commands import MODEL, lines, paint, run
from gradsight.cli.running import words
from gradsight.runs.progress import Progress

here, models = commands.here, commands.models  # fixtures


@pytest.fixture
def photos(here: Path) -> Path:
    for i in range(3):
        paint(here / "photos" / "red" / f"{i}.png", (448, 448 + 64 * i))
    (here / "photos" / "broken.png").write_bytes(b"no picture")
    return here


def began(*arguments: object, out: str = "run"):
    return run("run", "photos", "--model", MODEL, "--batch-size", "2", "--out", out, *arguments)


def test_a_run_names_what_failed_and_the_same_command_goes_on(photos: Path) -> None:
    result = began()
    assert result.exit_code == 1
    assert result.stdout == "3 photos by cli_models:colours are in run\n"
    first, last = result.stderr.splitlines()
    assert first.startswith("Failed: broken.png: ")
    assert last == "Failed: 1 of 4 photos; the others are done."
    found = gs.open_run("run")
    assert found.images == ("red/0.png", "red/1.png", "red/2.png")
    labels = found.table(["label", "label_index", "index"]).to_pylist()[1:]
    assert labels == [{"label": "red", "label_index": 0, "index": 0}] * 3
    parts = {path: path.stat().st_mtime_ns for path in Path("run/rows").iterdir()}
    assert began().exit_code == 1
    assert {path: path.stat().st_mtime_ns for path in Path("run/rows").iterdir()} == parts
    changed = began("--class", "blue")
    assert changed.exit_code == 2
    assert "is a run of something else" in changed.stderr


def test_of_a_run_whose_photos_failed_nothing_is_drawn_and_no_condition_is_blamed(here: Path) -> None:
    (here / "photos").mkdir()
    (here / "photos" / "broken.png").write_bytes(b"no picture")
    began()
    result = run("show", "run")
    assert result.exit_code == 2
    assert "'run' has nothing to draw: every photo failed (1)." in result.stderr


def test_a_run_says_how_its_model_is_loaded(photos: Path) -> None:
    # `gradsight audit run` loads it again.
    began()
    assert gs.open_run("run").manifest.model == {"version": 1, "source": MODEL}


def test_json_is_a_line_for_each_part_and_one_for_the_run(photos: Path) -> None:
    result = began("--json", "--method", "gradcam", "--method", "layercam", "--top", "2", "--features")
    part, whole = lines(result.stdout)
    assert (part["rows"], part["done"], part["total"], part["failed"]) == (13, 4, 4, 1)
    assert Path("run/rows", part["part"]).exists()
    assert whole == {"run": "run", "images": 4, "failed": 1, "complete": True}


def test_shards_are_merged_and_what_is_missing_is_said(photos: Path) -> None:
    assert began("--shard", "1/2", out="one").exit_code + began("--shard", "2/2", out="two").exit_code == 1
    half = run("merge", "one", "--out", "half")
    assert half.exit_code == 1
    assert half.stderr.startswith("Missing: ")
    both = run("merge", "one", "two", "--out", "both", "--json")
    assert both.exit_code == 0, both.stderr
    assert lines(both.stdout) == [{"run": "both", "images": 4, "failed": 1, "complete": True}]
    for wrong in ("0/2", "3/2", "1", "a/b", "1/2/3"):
        assert "--shard must be I/N" in began("--shard", wrong, out="x").stderr


def test_show_draws_what_fits_into_a_folder_or_one_picture(photos: Path) -> None:
    began("--top", "2")
    result = run("show", "run", "--where", "target == 0 and width > 448", "--out", "pictures")
    assert result.exit_code == 0, result.stderr
    drawn = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert drawn == ["red/1.gradcam.red.png", "red/2.gradcam.red.png"]
    direct = gs.Explainer(gs.load_model(MODEL))("photos/red/1.png").overlay()
    with Image.open("pictures/red/1.gradcam.red.png") as picture:
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(direct)).max() <= 1
    sheet = run("show", "run", "--limit", "2", "--out", "sheet.png", "--json")
    assert lines(sheet.stdout) == [{"file": "sheet.png", "images": 2, "failed": 0}]
    before = Path("photos/red/1.png").read_bytes()
    for moved in ((), ("--photos", "photos")):
        over = run("show", "run", "--out", "photos/red/1.png", *moved)
        assert (over.exit_code, over.stderr.startswith("Error: --out must not be a photo of the run")) == (2, True)
    assert Path("photos/red/1.png").read_bytes() == before
    some = run("show", "run", "--limit", "2", "--out", "sheet.png")
    assert some.stderr == "Note: 2 of 3 images that fit are drawn; --limit N draws more.\n"
    Path("photos/red/2.png").unlink()
    gone = run("show", "run", "--out", "pictures")
    assert gone.exit_code == 1
    assert gone.stderr.startswith("Failed: red/2.png: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--where", "bordr > 1"), "There is no column 'bordr'. Did you mean 'border'"),
        (("run", "--where", "__import__('os').system('touch x')"), "`where` must be a condition"),
        (("run", "--where", "score > 1000"), "no row fits"),
        (("photos",), "must be the folder of a run"),
        (("run", "--out", "sheet.png", "--limit", "501"), "--limit must be 500 at most"),
        (("run", "--out", "photo.png/sheet.png"), "--out must be in a folder"),
    ],
)
def test_mistakes_of_show_are_one_line(photos: Path, arguments: tuple[str, ...], said: str) -> None:
    began()
    result = run("show", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "slurm"), "There is no engine 'slurm'"),
        (("--address", "auto"), "--address is for --engine ray"),
        (("--class", "pink"), "There is no class 'pink'"),
        (("--out", "photo.png"), "photo.png"),
    ],
)
def test_mistakes_of_run_are_one_line(photos: Path, arguments: tuple[str, ...], said: str) -> None:
    result = began(*arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr


INTERRUPTED = """
import os

from cli_models import Colours, PLAIN


def build():
    net = Colours()

    def stop(module, inputs, output):
        green = inputs[0][:, 1].flatten(1)
        even = green.amax(1) - green.amin(1) < 1e-3  # a photo of these, and no variation of one
        if len(green) == 8 and (even & (green.mean(1) > float(os.environ["RUNS_END_AT"]) / 255)).any():
            raise KeyboardInterrupt
    net.register_forward_hook(stop)
    return net, PLAIN, ["red", "green", "blue"]
"""


def test_an_interrupt_keeps_what_is_whole_and_says_what_to_type(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "runs_interrupted.py").write_text(INTERRUPTED)
    for i in range(130):
        path = here / "photos" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (200, i, 0)).save(path)
    arguments = ("run", "photos", "--model", "runs_interrupted:build", "--batch-size", "8", "--out", "my run")
    monkeypatch.setattr(sys, "argv", ["gradsight", *arguments])
    result = run(*arguments, RUNS_END_AT="99.5")
    assert result.exit_code == 130
    assert result.stderr == (
        "Ended: 64 photos are done. To go on: gradsight run photos --model runs_interrupted:build --batch-size 8 "
        "--out 'my run'\n"
    )
    assert len(gs.open_run("my run")) == 64
    assert run(*arguments, RUNS_END_AT="1000").exit_code == 0
    assert json.loads(Path("my run/manifest.json").read_text())["images"] == 130


def test_how_far_it_is_in_words() -> None:
    assert words(Progress()) == "0 photos"
    now = Progress(total=100_000, before=1000, done=3000, failed=2, rate=12.5)
    assert words(now) == "4,000 of 100,000 photos, 12.5 a second, 2 h left, 2 failed"
