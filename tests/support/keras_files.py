"""Saved Keras models, pictures for them, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from PIL import Image

import gradsight as gs

SHAPE = (16, 20, 3)


def net(*before: Any, shape: tuple[Any, ...] = SHAPE, name: str = "net", classes: int = 3) -> Any:
    """A small classifier, whose layers are named alike whenever it is built."""
    tail = [
        L.Conv2D(4, 3, activation="relu", name="conv"),
        L.GlobalAveragePooling2D(name="pool"),
        L.Dense(classes, activation="softmax", name="scores"),
    ]
    return keras.Sequential([keras.Input(shape), *before, *tail], name=name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model in each of Keras's formats."""
    folder, model = tmp_path_factory.mktemp("saved"), net()
    for name in ("net.keras", "net.h5"):
        model.save(folder / name)
    model.save_weights(folder / "net.weights.h5")
    return SimpleNamespace(folder=folder, model=model)


def picture(path: Path, mode: str, size: tuple[int, int] = (53, 71)) -> Path:
    """Smooth colours and a little noise, in a mode; the size is (height, width)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    noise = np.random.default_rng(3).integers(0, 30, (*size, 3))
    pixels = np.stack([rows * 3, columns * 3, rows + columns], axis=2) + noise
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


MAIN = "from gradsight.cli import main; main()"


def process(*arguments: str, code: str = MAIN, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(gs.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    known = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    whole = {**known, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200", **environment}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, env=whole
    )
