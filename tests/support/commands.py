"""The command line in tests: a model of coloured squares, a photo of them, and how commands are run and read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gradsight.cli import quiet
from gradsight.cli.app import app

# Its score of a class is ten times the mean of one colour, so its map for "red" is where the photo is red.
MODELS = """
import torch
from torch import nn
from gradsight.imaging import Preprocess

PLAIN = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3)


class Colours(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False))
        self.head = nn.Linear(3, 3, bias=False)
        for part, factor in ((self.block[0], 1.0), (self.block[1], 1.0), (self.head, 10.0)):
            part.weight.data = (torch.eye(3) * factor).reshape(part.weight.shape)

    def forward(self, x):
        if x.shape[-1] % 32:
            raise RuntimeError(f"sides must be multiples of 32, and are {tuple(x.shape[2:])}")
        if x.max() < 0.01:
            raise RuntimeError("too dark")
        return self.head(self.block(nn.functional.avg_pool2d(x, 32)).mean((2, 3)))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 3, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.embed.weight.data = self.head.weight.data = torch.eye(3)

    def forward(self, x):
        return self.head(self.embed(nn.functional.adaptive_avg_pool2d(x, (2, 6)).flatten(2).mT).mean(1))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 224 * 224, 2)

    def forward(self, x):
        return self.head(x.flatten(1))


def colours():
    return Colours(), PLAIN, ["red", "green", "blue"]


def tokens():
    return Tokens(), PLAIN, None


def flat():
    return Flat(), PLAIN, None


def interrupted():
    raise KeyboardInterrupt
"""


MODEL = "cli_models:colours"


RED, GREEN, BLUE = (255, 0, 0), (0, 200, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "cli_models.py").write_text(MODELS)
    return folder


@pytest.fixture
def here(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new current folder with photo.png, in which the models of this file can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(models))
    paint(tmp_path / "photo.png")
    return tmp_path


def paint(path: Path, size: tuple[int, int] = (448, 448)) -> Path:
    """Black, with a red square at rows 64..192 and columns 256..384, and a smaller blue one at the bottom left."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[64:192, 256:384] = RED
    pixels[320:384, 64:128] = BLUE
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments: object, **environment: str):
    # What libraries have logged since the last command: a process of its own would begin without it.
    quiet.take()
    result = CliRunner().invoke(app, [str(x) for x in arguments], env={"COLUMNS": "200", **environment})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def explain(*arguments: object, **environment: str):
    # Of an option given twice the last one counts: these can be replaced.
    return run("explain", "--model", MODEL, "--out", "out", *arguments, **environment)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def written() -> list[str]:
    return sorted(path.name for path in Path("out").iterdir())


def read(name: str):
    return json.loads(Path("out", name).read_text())


def inside(peak: list[int], box: tuple[int, int, int, int]) -> bool:
    return box[0] <= peak[0] < box[2] and box[1] <= peak[1] < box[3]
