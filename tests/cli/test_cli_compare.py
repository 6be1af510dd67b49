"""`gradsight compare`: the grid it draws, what it says of each cell, and what happens to a method that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands
from commands import MODEL, inside, lines, paint, run
from gradsight.cli.commands.compare import chosen_methods
from gradsight.cli.parsing import split
from gradsight.errors import ModelError
from gradsight.registry import METHODS, Method
from pictures import where

here, models = commands.here, commands.models  # fixtures
RED_SQUARE, BLUE_SQUARE = (64, 256, 192, 384), (320, 64, 384, 128)


def compare(*arguments: object, **environment: str):
    return run("compare", "photo.png", "--model", MODEL, "--out", "grid.png", *arguments, **environment)


@pytest.fixture
def misfit(monkeypatch: pytest.MonkeyPatch) -> str:
    """A cheap method that fits no model."""

    def refuse(probe, ops):
        raise ModelError("it needs a head of another kind.")

    list(METHODS)
    monkeypatch.setitem(METHODS._entries, "misfit", Method("misfit", refuse, "Misfit-CAM", "here"))
    return "misfit"


def test_a_row_each_method_and_a_column_each_class(here):
    result = compare("--methods", "gradcam,edge", "--method", "layercam", "--class", "red", "--class", "blue", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    cells = lines(result.stdout)
    assert [(c["row"], c["column"], c["method"], c["label"]) for c in cells] == [
        (row, column, method, label)
        for row, method in enumerate(["gradcam", "edge", "layercam"])
        for column, label in enumerate(["red", "blue"])
    ]
    assert inside(cells[0]["peak"], RED_SQUARE)
    assert inside(cells[1]["peak"], BLUE_SQUARE)
    assert (cells[0]["title"], cells[0]["layers"], cells[2]["layers"]) == ("Grad-CAM", ["block"], [])
    assert {c["file"] for c in cells} == {"grid.png"}
    assert all("same_for_all" in [note["code"] for note in c["notes"]] for c in cells[2:4])


def test_overlays_are_in_their_cells_and_upright(here):
    assert compare("--methods", "gradcam,layercam", "--class", "red", "--class", "blue", "--opacity", 0).exit_code == 0
    with Image.open("grid.png") as picture:
        squares = where(picture.convert("RGB"), (255, 0, 0))
    photo, *cells = squares
    assert len(cells) == 4
    side = photo[2] - photo[0]
    assert all(s[2] - s[0] == pytest.approx(side, abs=2) for s in cells)
    rows = sorted({s[0] for s in cells})
    assert rows[-1] - rows[0] > 2 * side
    # The photo's own blue square is below and to the left of its red one, in every cell.
    with Image.open("grid.png") as picture:
        blues = where(picture.convert("RGB"), (0, 0, 255))
    near = [b for b in blues if b[2] - b[0] == pytest.approx(side / 2, abs=2)]
    assert len(near) == 5
    for red, blue in zip(sorted(squares), sorted(near), strict=True):
        assert blue[0] - red[0] == pytest.approx(2 * side, abs=3)
        assert blue[1] - red[1] == pytest.approx(-1.5 * side, abs=3)


def test_own_or_shared_scale_of_a_row(here):
    arguments = ("--methods", "gradcam", "--class", "red", "--class", "green", "--colormap", "gray", "--opacity", 1)
    own = compare(*arguments, "--json")
    assert [c["strength"] for c in lines(own.stdout)] == [1.0, 0.0]
    # A faint green square: its map is about a tenth of the red one's.
    pixels = np.zeros((448, 448, 3), np.uint8)
    pixels[64:192, 256:384] = (255, 0, 0)
    pixels[64:192, 64:192] = (0, 25, 0)
    Image.fromarray(pixels).save("photo.png")
    strong, weak = (c["strength"] for c in lines(compare(*arguments, "--json").stdout))
    assert strong == 1
    assert weak == pytest.approx(0.1, abs=0.02)
    with Image.open("grid.png") as picture:
        own_picture = np.asarray(picture.convert("L")).astype(int)
    compare(*arguments, "--scale", "shared")
    with Image.open("grid.png") as picture:
        shared = np.asarray(picture.convert("L")).astype(int)
    half = own_picture.shape[1] // 2
    lower = slice(own_picture.shape[0] // 2, None)
    changed = np.argwhere(np.abs(own_picture - shared)[lower] > 100)
    assert len(changed) > 300  # the faint map is bright by its own scale, dark by the row's
    assert changed[:, 1].min() > half


def test_layers_make_rows(here):
    several = (
        "--methods",
        "gradcam",
        "--methods",
        "fuse(layercam, by='max')",
        "--layers",
        "block.0",
        "--layers",
        "block.1",
    )
    result = compare(*several, "--json")
    assert [(c["method"], c["layers"]) for c in lines(result.stdout)] == [
        ("gradcam", ["block.0"]),
        ("gradcam", ["block.1"]),
        ("fuse(layercam, by='max')", ["block.0", "block.1"]),
    ]


def test_a_method_that_does_not_fit_spoils_nothing(here, misfit):
    result = compare("--methods", f"gradcam,{misfit},layercam", "--json")
    assert result.exit_code == 1
    good, bad, other = lines(result.stdout)
    assert (good["method"], other["method"]) == ("gradcam", "layercam")
    assert bad == {
        "image": "photo.png",
        "row": 1,
        "method": misfit,
        "title": "Misfit-CAM",
        "model": MODEL,
        "error": "it needs a head of another kind.",
    }
    assert result.stderr == "Failed: 'misfit': it needs a head of another kind.\n"
    with Image.open("grid.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    alarm = np.argwhere(np.abs(pixels - (150, 40, 30)).max(axis=2) < 30)
    cells = where(Image.open("grid.png").convert("RGB"), (0, 0, 255))
    assert cells[0][2] < alarm[:, 0].mean() < cells[-1][0]


def test_a_method_that_was_not_asked_for_may_not_fit(here, misfit):
    result = compare("--json")
    assert result.exit_code == 0
    assert "Failed: 'misfit'" in result.stderr
    records = lines(result.stdout)
    assert {"gradcam", "gradient", misfit} <= {record["method"] for record in records}
    assert not any(METHODS[record["method"]].costly for record in records)


def test_gradient_methods_share_one_call_and_costly_ones_are_told(here, monkeypatch):
    import gradsight as gs

    calls = []
    call = gs.Explainer.__call__

    def counted(self, inputs, **options):
        calls.append([method.name for method in options["method"]])
        return call(self, inputs, **options)

    monkeypatch.setattr(gs.Explainer, "__call__", counted)
    result = compare("--methods", "gradcam,occlusion(window=0.5,stride=0.2),layercam,smooth(gradient)", "--json")
    assert result.exit_code == 0
    assert calls == [["gradcam", "layercam"], ["occlusion(window=0.5, stride=0.2)"], ["smooth(gradient)"]]
    assert [c["row"] for c in lines(result.stdout)] == [0, 1, 2, 3]
    assert result.stderr.startswith("Note: these take many passes of the model")
    assert len(result.stderr.splitlines()) == 1
    assert "occlusion(window=0.5, stride=0.2) (17), smooth(gradient) (6 k + 7)" in result.stderr


def test_the_default_is_what_takes_a_few_passes_and_all_is_all():
    cheap = {method.name for method in chosen_methods([], everything=False)}
    assert {"gradcam", "layercam", "gradient", "guidedgradcam", "eigencam", "fullgrad"} <= cheap
    assert not cheap & {
        "scorecam",
        "ablationcam",
        "rise",
        "occlusion",
        "smoothgrad",
        "smoothgradcampp",
        "integratedgradients",
    }
    assert {method.name for method in chosen_methods([], everything=True)} == set(METHODS)


def test_commas_within_brackets_do_not_separate():
    assert split("a, fuse(b, by='max') ,contrastive(fuse(c, by='x'), rivals=2),") == [
        "a",
        "fuse(b, by='max')",
        "contrastive(fuse(c, by='x'), rivals=2)",
    ]
    assert split("") == []


def test_signed_targets_are_compared_signed(here):
    result = compare("--methods", "gradcam", "--class", "red", "--rather-than", "blue", "--json")
    (cell,) = lines(result.stdout)
    assert cell["signed"] is True
    assert inside(cell["against"]["peak"], BLUE_SQUARE)


def test_people_read_where_each_method_is_strongest(here):
    result = compare("--methods", "gradcam,gradient", "--class", "red", "--class", "blue")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("Grad-CAM")]
    assert line.split("  ")[1:] != []
    assert "top right" in line
    assert "bottom left" in line
    assert "at layer block" in line
    assert "Look at grid.png" in result.stdout
    assert not Path("gradsight-out").exists()


def test_the_picture_has_a_name_of_its_own_if_none_is_given(here):
    result = run("compare", "photo.png", "--model", MODEL, "--methods", "gradcam")
    assert result.exit_code == 0
    assert {path.name for path in Path("gradsight-out").iterdir()} == {"photo.compare.png", "photo.compare.json"}


MISTAKES = {
    "method": (["--methods", "grad-camm"], "gradcam"),
    "one of two methods": (["--methods", "gradcam,layrcam"], "'layercam'"),
    "option": (["--method", "scorecam(tip=2)"], "'top'"),
    "class": (["--class", "reed"], "Did you mean 'red'"),
    "layer": (["--layers", "block.l"], "Did you mean 'block.1'"),
    "scale": (["--scale", "mine"], "own, shared"),
    "all and some": (["--all", "--method", "gradcam"], "exclude each other"),
    "out": (["--out", "grid.txt"], "--out must be a picture"),
    "a folder": (["--out", "folder.png"], "is a folder"),
    "below a file": (["--out", "photo.png/grid.png"], "--out must be in a folder"),
    "model": (["--model", "cli_models:color"], "'colours'"),
    "colour map": (["--colormap", "plasmaa"], "'plasma'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(here, kind):
    arguments, reason = MISTAKES[kind]
    Path("folder.png").mkdir()
    result = compare("--methods", "gradcam,layercam", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    assert reason in result.stderr
    assert not Path("grid.png").exists()


@pytest.mark.parametrize("name", ["gone.png", "folder", "text.png"])
def test_a_bad_photo_is_status_1(here, name):
    Path("folder").mkdir()
    Path("text.png").write_text("Dear diary")
    result = run("compare", name, "--model", MODEL, "--out", "grid.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Failed: ")
    assert name in result.stderr


def test_a_bug_in_a_method_costs_its_own_row_only(here, monkeypatch):
    list(METHODS)
    monkeypatch.setitem(METHODS._entries, "buggy", Method("buggy", lambda probe, ops: 1 / 0, "Buggy", "here"))
    result = compare("--methods", "gradcam,buggy", "--json")
    assert result.exit_code == 1
    assert lines(result.stdout)[1]["error"] == "ZeroDivisionError: division by zero"
    alone = compare("--methods", "buggy")
    assert (alone.exit_code, len(alone.stderr.splitlines())) == (2, 1)
    assert alone.stderr.startswith("Error: ZeroDivisionError: division by zero. Nobody foresaw this")


def test_when_nothing_fits_it_is_the_model(here, misfit):
    result = compare("--methods", misfit)
    assert (result.exit_code, result.stderr) == (2, "Error: it needs a head of another kind.\n")


def test_the_bundled_photo_shows_the_cat_and_the_cup(here):
    from gradsight.photos import bundled_photo

    Path("cat.jpg").write_bytes(bundled_photo().source)
    arguments = ("--methods", "gradcam,layercam,guidedbackprop", "--class", "Egyptian cat", "--class", "espresso")
    result = run("compare", "cat.jpg", *arguments, "--out", "grid.jpg", "--json")
    assert result.exit_code == 0
    for cell in lines(result.stdout)[:4]:
        above = cell["peak"][0] < cell["height"] / 2
        assert above == (cell["label"] == "Egyptian cat")
    with Image.open("grid.jpg") as picture:
        assert 600 < picture.width < 2000
        assert 600 < picture.height < 2000


def test_the_picture_of_another_photo_is_not_replaced(here: Path) -> None:
    for folder in ("a", "b"):
        paint(here / folder / "photo.png")
    command = ("compare", "--model", MODEL, "--methods", "gradcam,cam")
    assert run(*command, "a/photo.png").exit_code == 0
    (first, *_) = json.loads(Path("gradsight-out/photo.compare.json").read_text())
    assert (first["image"], first["method"], first["file"]) == ("a/photo.png", "gradcam", "photo.compare.png")
    before = Path("gradsight-out/photo.compare.png").read_bytes()
    assert run(*command, "a/photo.png").exit_code == 0
    result = run(*command, "b/photo.png")
    assert result.exit_code == 2
    assert "of the photo 'a/photo.png'" in result.stderr
    assert Path("gradsight-out/photo.compare.png").read_bytes() == before
    assert run(*command, "b/photo.png", "--overwrite").exit_code == 0


def test_the_photo_itself_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"whatever it is")
    result = run("compare", "photo.png", "--model", MODEL, "--out", "photo.png")
    assert result.exit_code == 2
    assert "--out must not be the photo itself" in " ".join(result.stderr.split())
    assert photo.read_bytes() == b"whatever it is"
