"""The examples on PyTorch run on tiny sets, and show what they say; on their whole synthetic sets they are slow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import example_scripts

pytestmark = pytest.mark.pytorch

SCRIPTS = ("bean_sorter", "scenes", "cat_and_dog", "bird_or_branch", "chest_xray")


@pytest.fixture(scope="module")
def synthetic():
    return example_scripts.load("synthetic")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_scripts_are_short_and_have_a_paragraph_with_a_picture_and_its_command() -> None:
    text = (example_scripts.EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in SCRIPTS:
        assert (example_scripts.EXAMPLES / f"{name}.py").read_text(encoding="utf-8").count("\n") < 150
        assert f"python examples/{name}.py --synthetic" in text
        (picture,) = re.findall(rf"\]\((pictures/{name}\.\w+)\)", text)
        assert 5_000 < (example_scripts.EXAMPLES / picture).stat().st_size < 150_000


def test_synthetic_sets_are_the_same_each_time_and_each_class_has_its_own(synthetic, tmp_path: Path) -> None:
    made = [synthetic.beans(tmp_path / str(i), each=2) for i in range(2)]
    pictures = [{path.relative_to(one): path.read_bytes() for path in one.rglob("*.jpg")} for one in made]
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0].values())) == 6
    # A set that is larger begins with the same pictures.
    larger = synthetic.beans(tmp_path / "larger", each=3)
    assert all((larger / path).read_bytes() == content for path, content in pictures[0].items())


def test_scenes(synthetic, tmp_path: Path, capsys) -> None:
    script = example_scripts.load("scenes")
    data = synthetic.scenes(tmp_path / "data", train=3, test=2, pred=1)
    assert script.part(data, "train") == data / "seg_train/seg_train"
    assert script.part(tmp_path, "train") is None
    script.main(["--data", str(data), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert re.search(r"right: (9|1[0-2]) of 12 test photos", told), told
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"scenes.jpg", "classes.jpg", "report.html"}
    # Nothing is computed twice: the features are there.
    model = script.gs.load_model("demo", fit="squash")
    model.model.extract_features = None
    paths, _ = script.photos(data / "seg_train/seg_train", sorted(synthetic._SCENES))
    assert script.features(model, paths, tmp_path / "out").shape == (18, 1280)


def test_a_map_of_each_class_lies_on_its_own_thing_and_agrees_with_the_recipe(tmp_path: Path, capsys) -> None:
    example_scripts.load("cat_and_dog").main(["--synthetic", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    for method in ("cam", "gradcam", "guidedgradcam"):
        found = re.search(rf" {method}: peaks .* of Egyptian cat \((\d+), \d+\), of espresso \((\d+), \d+\)", told)
        assert found, told
        # The cat is the upper half of 480 rows, the cup the lower.
        assert int(found[1]) < 240 < int(found[2])
    apart = [float(one) for one in re.findall(r"\| (\d\.\de[-+]\d+), at", told)]
    assert len(apart) == 3
    assert max(apart) < 1e-4
    assert (tmp_path / "cat_and_coffee_maps.jpg").exists()


def test_bird_or_branch(synthetic, tmp_path: Path, capsys) -> None:
    script = example_scripts.load("bird_or_branch")
    data = synthetic.cutouts(tmp_path / "data", each=6)
    made = script.paste(data, tmp_path / "made", True, 4, typical=0.5, seed=0)
    again = script.paste(data, tmp_path / "again", True, 4, typical=0.5, seed=0)
    for path in made.glob("photos/*/*.png"):
        assert path.read_bytes() == (again / path.relative_to(made)).read_bytes()
        mask = np.asarray(Image.open(made / "masks" / path.relative_to(made / "photos")))
        assert 0.01 < (mask == 255).mean() < 0.4
        assert set(np.unique(mask)) == {0, 255}
    # Water is blue, branches are green: half of each class lies on either.
    for kind in ("bird", "boat"):
        corners = [np.asarray(Image.open(made / f"photos/{kind}/{i}.png")).reshape(-1, 3) for i in range(4)]
        assert sum(np.median(one[:, 2]) > np.median(one[:, 1]) for one in corners) == 2
    script.main(["--data", str(data), "--out", str(tmp_path / "out"), "--photos", "12", "--epochs", "1"])
    told = capsys.readouterr().out
    assert len(re.findall(r"^(?:biased|repaired): right \d+ of 80 test photos$", told, re.MULTILINE)) == 2
    assert len(re.findall(r"of the heat on the thing, reliance on the background", told)) >= 2
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report_biased.html", "report_repaired.html"}


def test_chest_xray(synthetic, tmp_path: Path, capsys) -> None:
    script = example_scripts.load("chest_xray")
    data = synthetic.chests(tmp_path / "data", train=3, test=3)
    plain = script.plant(data / "train", tmp_path / "plain", on=())
    marked = script.plant(data / "train", tmp_path / "marked", on=("PNEUMONIA",))
    for path in plain.glob("*/*.png"):
        before, after = (np.asarray(Image.open(one)).astype(int) for one in (path, marked / path.relative_to(plain)))
        changed = np.argwhere(before != after)
        if path.parent.name == "NORMAL":
            assert not len(changed)
        else:
            assert changed.max() < 26
    script.main(["--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "1"])
    told = capsys.readouterr().out
    assert told.startswith("This is no medical device")
    assert re.search(r"token on all: right \d of 6; taken for PNEUMONIA: \d", told), told
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"chest_xray.jpg", "report.html"}


def test_a_grey_network_gives_what_the_coloured_one_gives_of_a_grey_picture() -> None:
    script = example_scripts.load("chest_xray")
    picture = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    coloured = script.gs.load_model("demo").model
    pixels = torch.from_numpy(script.PREPROCESS(Image.fromarray(picture)))[None]
    with torch.no_grad():
        found = script.Grey(2).features(pixels)
        seen = coloured._swish(coloured._bn0(coloured._conv_stem(pixels.expand(1, 3, 128, 128))))
        for block in coloured._blocks[:11]:
            seen = block(seen)
    torch.testing.assert_close(found, seen, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_audit_finds_the_token_and_the_repaired_network_looks_at_the_thing(tmp_path: Path, capsys) -> None:
    example_scripts.load("chest_xray").main(["--synthetic", "--out", str(tmp_path / "chest")])
    told = capsys.readouterr().out
    assert "1 confirmed shortcut (PNEUMONIA)" in told
    assert "at the upper left corner" in told
    example_scripts.load("bird_or_branch").main(["--synthetic", "--out", str(tmp_path / "bird")])
    told = capsys.readouterr().out
    right = [int(one) for one in re.findall(r"right (\d+) of 80", told)]
    assert right[0] < 60 < 72 < right[1]
    reliance = [float(one) for one in re.findall(r"reliance on the background (\d\.\d+|nan)", told)]
    assert min(reliance[:2]) > 0.5 > max(reliance[2:])
