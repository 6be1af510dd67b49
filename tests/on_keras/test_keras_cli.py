"""Keras models on the command line, on the engine of this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import gradsight as gs
import keras_files
from gradsight.cli.app import app
from gradsight.imaging import Preprocess
from keras_files import picture, process

saved = keras_files.saved  # a fixture

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


# The command line


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(x) for x in arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("environment", [{}, {"TF_ENABLE_ONEDNN_OPTS": "1"}])
def test_stdout_is_json_and_nothing_else(saved: Any, tmp_path: Path, environment: dict[str, str]) -> None:
    """Nor do the engines speak, such as TensorFlow of oneDNN."""
    picture(tmp_path / "photo.png", "RGB")
    (tmp_path / "names.txt").write_text("ant\nbee\ncow\n")
    arguments = ("--model", str(saved.folder / "net.keras"), "--labels", str(tmp_path / "names.txt"), "--class", "bee")
    arguments = (*arguments, "--out", str(tmp_path / "out"), "--json")
    done = process("explain", str(tmp_path / "photo.png"), *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = records(done.stdout)
    assert (record["width"], record["height"]) == (71, 53)
    assert record["targets"][0]["label"] == "bee"
    assert sorted(p["label"] for p in record["predictions"]) == ["ant", "bee", "cow"]
    assert (tmp_path / "out" / "photo.gradcam.bee.png").exists()


def test_a_function_that_imports_keras_is_heard_alone(folder: Any) -> None:
    """What it prints goes to stderr, and what the engine says of itself nowhere."""
    picture(folder.path / "photo.png", "RGB")
    folder.write(
        "gradsight_keras_told",
        """
        import os
        import keras
        from keras import layers as L

        def build():
            print("built")
            os.write(1, b"really\\n")
            x = keras.Input((32, 32, 3))
            return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(x))))
        """,
    )
    arguments = ("explain", "photo.png", "--model", "gradsight_keras_told:build", "--out", "out", "--json")
    done = process(*arguments, TF_ENABLE_ONEDNN_OPTS="1")
    assert (done.returncode, done.stderr) == (0, "built\nreally\n")
    (record,) = records(done.stdout)
    assert record["image"] == "photo.png"


def test_options_of_the_picture_reach_a_keras_model(folder: Any, saved: Any) -> None:
    picture(folder.path / "photo.png", "RGB")
    folder.write("gradsight_keras_pixels", "def halves(pixels): return pixels / 127.5 - 1")
    arguments = ("explain", "photo.png", "--model", saved.folder / "net.keras", "--out", "out", "--json")
    (plain,) = records(run(*arguments).stdout)
    (same,) = records(run(*arguments, "--preprocess", "gradsight_keras_pixels:halves").stdout)
    (named,) = records(run(*arguments, "--preprocess", "resnet50", "--interpolation", "nearest").stdout)
    score = plain["targets"][0]["score"]
    assert same["targets"][0]["score"] == pytest.approx(score, rel=1e-4)
    assert named["targets"][0]["score"] != pytest.approx(score, rel=1e-2)
    other = run(*arguments, "--size", "64")
    assert (other.exit_code, other.stdout, len(other.stderr.splitlines())) == (2, "", 1)


@pytest.mark.not_on_jax
def test_a_real_network_from_the_command_line(folder: Any) -> None:
    picture(folder.path / "photo.jpg", "RGB", (130, 170))
    arguments = ("explain", "photo.jpg", "--model", "keras:MobileNetV2", "--weights", "none", "--class", "tabby")
    result = run(*arguments, "--size", "128", "--layer", "out_relu", "--out", "out", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert (record["model"], record["layers"]) == ("keras:MobileNetV2", ["out_relu"])
    assert record["targets"][0]["label"] == "tabby"
    assert (folder.path / "out" / "photo.gradcam.tabby.jpg").exists()


# Real models on their photos

EMOTIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
# (left, top, right, bottom) inside of the boxes that the authors' detector drew into the photo
FACES = {
    "surprise": (147, 160, 302, 330),
    "happy": (669, 103, 850, 303),
    "sad": (140, 597, 320, 794),
    "angry": (695, 641, 889, 854),
}


@pytest.fixture
def faces(data: Path, folder: Any) -> Path:
    """Faces as files, and the emotions' names; gives the folder of the models."""
    models = data / "keras_mini_xception"
    with Image.open(models / "photos" / "emotion_classification.jpg") as photo:
        for name, box in FACES.items():
            photo.crop(box).save(folder.path / f"{name}.png")
    (folder.path / "emotions.txt").write_text("\n".join(EMOTIONS))
    return models


@pytest.mark.not_on_jax
def test_a_model_of_keras_2_knows_the_emotions_that_its_authors_show(faces: Path, folder: Any) -> None:
    model, preprocess, labels = gs.load_model(
        faces / "fer2013_mini_XCEPTION.102-0.66.hdf5", labels=folder.path / "emotions.txt"
    )
    assert preprocess == Preprocess((64, 64), fit="squash", mean=(0.5,), std=(0.5,), channels_last=True)
    found = gs.Explainer(model, preprocess=preprocess, labels=labels)([f"{name}.png" for name in FACES])
    assert [rows[0].label for rows in found.predictions] == list(FACES)
    assert all(rows[0].probability > 0.5 for rows in found.predictions)


@pytest.mark.not_on_jax
def test_the_mouth_speaks_for_a_happy_face(faces: Path) -> None:
    model = faces / "fer2013_mini_XCEPTION.102-0.66.hdf5"
    arguments = ("explain", "happy.png", "--model", model, "--labels", "emotions.txt", "--class", "happy")
    result = run(*arguments, "--out", "out", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (record,) = records(result.stdout)
    assert (record["predictions"][0]["label"], record["layers"]) == ("happy", ["add_4"])
    row, column = record["targets"][0]["peak"]
    assert 100 < row < 160
    assert 50 < column < 130
    assert Path("out", "happy.gradcam.happy.png").exists()
