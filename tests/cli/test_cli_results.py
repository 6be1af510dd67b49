"""What the command line writes, keeps and goes on with; what it says where a person mistypes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import commands
import gradsight as gs
from commands import MODEL, explain, lines, paint, read, run
from gradsight.cli import importable
from gradsight.cli.app import app
from gradsight.errors import unknown
from gradsight.models.known import suggestions
from gradsight.variants import as_method

here, models = commands.here, commands.models  # fixtures


def files() -> list[str]:
    return sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file())


def test_results_are_laid_out_as_the_photos_are(here):
    for name in ("photos/1.png", "photos/cats/1.png", "photos/dogs/1.png"):
        paint(here / name)
    assert explain("photos").exit_code == 0
    assert files() == sorted(f"{way}1{end}" for way in ("", "cats/", "dogs/") for end in (".json", ".gradcam.red.png"))
    assert read("cats/1.json")["image"] == "photos/cats/1.png"
    assert read("cats/1.json")["targets"][0]["file"] == "cats/1.gradcam.red.png"
    flat = run("explain", "photos", "--model", MODEL, "--out", "flat", "--no-recursive", "--json")
    assert [record["image"] for record in lines(flat.stdout)] == ["photos/1.png"]


def test_results_in_a_folder_of_photos_are_no_photos(here):
    paint(here / "photos" / "1.png")
    for _ in range(2):
        result = run("explain", "photos", "--model", MODEL, "--out", "photos/out", "--json")
        assert [record["image"] for record in lines(result.stdout)] == ["photos/1.png"]


def test_the_same_command_replaces_its_own_results_and_nobody_else_s(here):
    paint(here / "other" / "photo.png")
    assert explain("photo.png").exit_code == explain("./photo.png").exit_code == 0
    before = Path("out/photo.json").read_bytes()
    for mistake, words in ((("other/photo.png",), "of the photo"), (("photo.png", "--model", "demo"), "of the model")):
        result = explain(*mistake)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
        assert words in result.stderr
        assert "--overwrite" in result.stderr
        assert Path("out/photo.json").read_bytes() == before
    assert explain("other/photo.png", "--overwrite").exit_code == 0
    assert read("photo.json")["image"] == "other/photo.png"


@pytest.mark.parametrize("content", ["{}", "[1]", "no JSON", "[]", '{"shapes": [], "version": "5.0"}'])
def test_a_file_of_somebody_else_s_is_not_replaced(here, content):
    Path("out").mkdir()
    Path("out/photo.json").write_text(content)
    result = explain("photo.png")
    assert (result.exit_code, Path("out/photo.json").read_text()) == (2, content)
    assert "no record of gradsight's" in result.stderr


def test_resume_leaves_out_what_was_done_just_so(here):
    paint(here / "photos" / "1.png")
    paint(here / "photos" / "2.png")
    again = ("photos", "--json", "--resume", "--top", "2")
    assert len(lines(explain("photos", "--json", "--top", "2").stdout)) == 2
    done = explain(*again)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "Note: 2 of 2 photos were done before and are left out.\n"
    Path("out/2.json").unlink()
    assert [r["image"] for r in lines(explain(*again).stdout)] == ["photos/2.png"]
    Path("out/1.gradcam.red.png").unlink()
    assert [r["image"] for r in lines(explain(*again).stdout)] == ["photos/1.png"]
    for other in (("--method", "layercam"), ("--layer", "block.0"), ("--class", "red"), ("--fit", "squash")):
        changed = [x for x in again if x not in ("--top", "2")] if "--class" in other else again
        assert len(lines(explain(*changed, *other).stdout)) == 2


INTERRUPTED = """
from cli_models import Colours, PLAIN


def build():
    net = Colours()
    seen = []

    def stop(module, inputs, output):
        if inputs[0].max() < 0.9:  # of the second photo
            raise KeyboardInterrupt
    net.register_forward_hook(stop)
    return net, PLAIN, ["red", "green", "blue"]
"""


def test_an_interrupt_says_how_far_it_got(here):
    (here / "cli_interrupted.py").write_text(INTERRUPTED)
    paint(here / "photos" / "1.png")
    for name in ("2", "3"):
        Image.fromarray(np.full((448, 448, 3), 60, np.uint8)).save(f"photos/{name}.png")
    result = run("explain", "photos", "--model", "cli_interrupted:build", "--out", "out", "--json")
    assert result.exit_code == 130
    assert result.stderr == "Ended: 1 of 3 photos are done; the same command with --resume goes on.\n"
    assert len(lines(result.stdout)) == 1


def test_pictures_follow_the_photo_s_format_or_are_what_is_asked_for(here):
    with Image.open("photo.png") as photo:
        photo.save("photo2.jpg")
        photo.save("really.png", format="JPEG")  # the content counts
    explain("photo2.jpg", "really.png")
    assert {name for name in files() if "gradcam" in name} == {"photo2.gradcam.red.jpg", "really.gradcam.red.jpg"}
    assert explain("photo.png", "--format", "webp", "--max-side", 100, "--quality", 20, "--out", "small").exit_code == 0
    with Image.open("small/photo.gradcam.red.webp") as small:
        assert (small.format, small.size) == ("WEBP", (100, 100))
    refused = explain("photo.png", "--format", "gif")
    assert (refused.exit_code, "--format must be png, jpg or webp" in refused.stderr) == (2, True)


def test_one_picture_of_one_photo(here):
    result = explain("photo.png", "--out", "one.png", "--top", 2, "--json")
    assert (result.exit_code, lines(result.stdout)[0]["file"]) == (0, "one.png")
    assert not Path("out").exists()
    with Image.open("one.png") as one, Image.open("photo.png") as photo:
        assert one.width > 3 * 320 > photo.width
    before = Path("photo.png").read_bytes()
    itself = explain("photo.png", "--out", "photo.png")
    assert (itself.exit_code, Path("photo.png").read_bytes()) == (2, before)
    paint(here / "second.png")
    for more in (("second.png",), ("--resume",), ("--format", "jpg")):
        assert explain("photo.png", *more, "--out", "two.png").exit_code == 2
        assert not Path("two.png").exists()


def test_maps_are_checked_where_that_is_asked_for(here):
    (plain,) = lines(explain("photo.png", "--method", "edge", "--json").stdout)
    (record,) = lines(explain("photo.png", "--method", "edge", "--diagnose", "--overwrite", "--json").stdout)
    codes = [[note["code"] for note in one["targets"][0]["notes"]] for one in (plain, record)]
    assert {*codes[1]} - {*codes[0]} >= {"survives_random_weights", "diagnosed"}
    assert record["asked"]["diagnose"] is True
    assert any("--method gradcam" in note["text"] for note in record["targets"][0]["notes"])


def test_a_figure_has_a_row_for_each_method_and_says_what_colours_mean(here):
    explain("photo.png", "--figure", "--method", "gradcam")
    with Image.open("out/photo.figure.png") as one:
        single = one.size
    result = explain("photo.png", "--figure", "--method", "gradcam", "--method", "layercam", "--json")
    assert {record["figure"] for record in lines(result.stdout)} == {"photo.figure.png"}
    with Image.open("out/photo.figure.png") as two:
        assert two.width == single[0]
        assert single[1] * 1.8 < two.height < single[1] * 2
        legend = np.asarray(two.convert("RGB"))[-25:].reshape(-1, 3)
    assert (np.abs(legend.astype(int) - (240, 249, 33)).max(1) < 12).any()  # the bright end of plasma


def test_a_photo_comes_in_by_stdin_once(here):
    content = Path("photo.png").read_bytes()
    arguments = ["explain", "-", "--model", MODEL, "--out", "out", "--json"]
    result = CliRunner().invoke(app, arguments, input=content)
    assert (result.exit_code, json.loads(result.stdout)["image"]) == (0, "stdin")
    assert files() == ["stdin.gradcam.red.png", "stdin.json"]
    again = CliRunner().invoke(app, arguments, input=content)
    assert (again.exit_code, "perhaps another" in again.stderr) == (2, True)
    twice = CliRunner().invoke(app, [*arguments, "-"], input=content)
    assert (twice.exit_code, "can be named once" in twice.stderr) == (2, True)
    grid = CliRunner().invoke(
        app, ["compare", "-", "--model", MODEL, "--methods", "gradcam", "--out", "grid.png"], input=content
    )
    assert (grid.exit_code, Path("grid.png").exists()) == (0, True)


def test_quiet_says_nothing_but_what_went_wrong(here):
    result = explain("photo.png", "gone.png", "-q", FORCE_COLOR="1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line[:6] for line in result.stderr.splitlines() if "Failed" in line] != []
    assert "explaining" not in result.stderr
    assert run("explain", "photo.png", "--model", MODEL, "--out", "out").stdout  # the next one speaks again
    assert explain("photo.png", "-q", "--json").exit_code == 2


def test_the_device_reaches_the_model_where_it_is_given(here, monkeypatch):
    asked = []
    load = gs.load_model
    monkeypatch.setattr(gs, "load_model", lambda *a, **k: asked.append(k.pop("device", None)) or load(*a, **k))
    explain("photo.png")
    explain("photo.png", "--device", "cpu")
    assert asked == [None, "cpu"]


@pytest.mark.parametrize("text", ["gradcam++", "Grad-CAM++", "GradCAMpp", "grad_cam_pp"])
def test_methods_are_understood_as_papers_write_them(text):
    assert as_method(text).name == "gradcampp"
    assert as_method(f"fuse({text}, by='max')").name == "fuse(gradcampp, by='max')"


def test_names_that_hold_the_word_come_before_those_that_look_like_it():
    labels = ["bat", "cap", "cats", "cat bear", "tiger cat", "Egyptian cat", "catamaran"]
    assert "Did you mean 'tiger cat' or 'Egyptian cat' or 'cat bear'?" in str(unknown("class", "cat", labels))
    assert "'bat'" in str(unknown("class", "baat", labels))


def test_sources_that_know_a_model_are_offered(here):
    assert suggestions("Resnet-50")[0] == "torchvision:resnet50"
    assert {"torchvision:resnet50", "timm:resnet50", "keras:ResNet50"} == set(suggestions("resnet50"))
    assert suggestions("") == []
    result = explain("photo.png", "--model", "resnet50")
    assert (result.exit_code, "'torchvision:resnet50' or 'timm:resnet50'" in result.stderr) == (2, True)


def test_a_package_that_is_there_and_does_not_import_is_not_ready(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("raise RuntimeError('no such\\noperator')")
    (tmp_path / "ending_one.py").write_text("import os; os._exit(3)")
    (tmp_path / "whole_one.py").write_text("print('hello')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = importable.failures(["broken_one", "ending_one", "whole_one", "missing_one"])
    assert found == {
        "missing_one": "missing_one is not installed.",
        "broken_one": "broken_one: RuntimeError: no such operator",
        "ending_one": "ending_one: the process that imports it ends with status 3.",
    }


@pytest.mark.parametrize(
    "command", ["explain", "compare", "neurons", "caption", "ask", "similar", "run", "merge", "show"]
)
def test_a_command_without_arguments_is_one_line(command):
    result = run(command)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert any(f"Missing argument '{name}" in line for name in ("IMAGE", "SOURCE", "RUN"))
    assert f"gradsight {command} --help" in line


def test_help_breaks_no_word_and_names_no_type_of_python():
    text = run("explain", "--help", COLUMNS="80").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert not {"<bool>", "list[", "[x>=1]", "{IMAGE}"} & set(text.split())
    assert "│" not in text
    for word in ("channels_first,", "keras.applications,", "package.module:function", "--interpolation"):
        assert word in text.split()
    titles = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "Arguments",
        "What is explained",
        "The result",
        "The model",
        "The picture as the model gets it",
        "Other options",
    ]


def test_shells_can_complete():
    environment = {
        **os.environ,
        "_GRADSIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": "gradsight exp",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-m", "gradsight"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["explain"]
    assert "--install-completion" in run("--help").stdout


@pytest.mark.parametrize("name", ["one.gif", "one.pdf", "one.TIF"])
def test_a_picture_in_a_form_that_is_not_written_is_no_folder(here, name):
    result = explain("photo.png", "--out", name)
    assert result.exit_code == 2
    assert "--out must be a folder, or a picture: .png" in result.stderr
    assert not Path(name).exists()
