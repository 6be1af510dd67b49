"""Whose stdout it is: gradsight's words alone, whatever the user's model prints and by whatever way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import gradsight as gs
from gradsight.cli.app import app
from gradsight.cli.quiet import FRAMEWORKS

pytestmark = pytest.mark.pytorch

MAIN = "from gradsight.cli import main; main()"

# Every way to write that was seen in models: Python's stdout and the one that it started with, the file descriptor
# itself, C's buffer, another process, a function that runs at exit.
NOISY = """
import atexit, ctypes, os, subprocess, sys
import torch
from torch import nn


def noise(where):
    print("print", where)
    sys.__stdout__.write(f"first stdout {where}\\n")
    os.write(1, f"descriptor {where}\\n".encode())
    ctypes.CDLL(None).puts(f"C {where}".encode())
    subprocess.run([sys.executable, "-c", f"print('process {where}')"], check=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head, self.silent = nn.Conv2d(3, 4, 3, stride=8), nn.Linear(4, 3), False

    def forward(self, x):
        if not self.silent:
            self.silent = True
            noise("in forward")
        return self.head(self.conv(x).relu().mean((2, 3)))


def scaled(pixels):
    print("print in preprocess")
    return pixels / 255


def build():
    noise("in build")
    torch.manual_seed(0)  # of some random weights no channel is active
    return Net()


noise("at import")
atexit.register(print, "print at exit")
"""
EVERYWHERE = [
    f"{way} {where}"
    for way in ("print", "first stdout", "descriptor", "C", "process")
    for where in ("at import", "in build", "in forward")
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new current folder with a photo and the noisy model."""
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((40, 30), 60).convert("RGB").save("photo.png")
    Path("noisy.py").write_text(NOISY)
    return tmp_path


def process(*arguments: str, code: str = MAIN, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(gs.__file__).parents[1]), str(Path.cwd())]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200", **environment}
    command = [sys.executable, "-c", code, *arguments]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=known)


@pytest.mark.parametrize("command", [("explain", "photo.png", "--out", "out"), ("layers", "photo.png")])
def test_of_json_stdout_has_nothing_else(here: Path, command: tuple[str, ...]) -> None:
    done = process(*command, "--model", "noisy:build", "--preprocess", "noisy:scaled", "--json")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert isinstance(json.loads(line), dict)
    told = done.stderr.splitlines()
    assert [line for line in (*EVERYWHERE, "print in preprocess", "print at exit") if line not in told] == []


def test_of_words_stdout_has_ours_alone(here: Path) -> None:
    done = process("explain", "photo.png", "--out", "out", "--model", "noisy:build")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("photo.png  40 x 30 pixels")
    assert not [line for line in done.stdout.splitlines() if line in EVERYWHERE or "at exit" in line]
    assert "photo.png  40" not in done.stderr


def test_what_stands_in_place_of_the_streams_gets_the_words(here: Path) -> None:
    code = """if True:
        import io, json, sys
        from gradsight.cli import main
        real, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
        told = sys.stdout, sys.stderr
        for command in (["models"], ["models", "--nonsense"]):
            sys.argv = ["gradsight", *command]
            try:
                main()
            except SystemExit as ended:
                print(json.dumps([ended.code, *(words.getvalue() for words in told)]), file=real)
    """
    done = process(code=code)
    assert done.stderr == ""
    (status, listed, nothing), (mistake, same, told) = map(json.loads, done.stdout.splitlines())
    assert (status, nothing, mistake, same) == (0, "", 2, listed)
    assert "torchvision" in listed
    assert told.startswith("Error: No such option: --nonsense")


@pytest.mark.parametrize("shell", ["2>&-", "2>&- <&-", "| head -c 20", "2>/dev/null"])
def test_closed_streams_and_readers_that_leave_do_no_harm(here: Path, shell: str) -> None:
    done = process("explain", "photo.png", "--out", "out", "--model", "noisy:build", "--json", shell=shell)
    assert done.stdout.startswith('{"version": 1, "imag'), done.stderr
    assert "Traceback" not in done.stderr
    assert Path("out", "photo.json").exists()
    assert len(json.loads(Path("out", "photo.json").read_text())["predictions"]) == 3


def test_within_python_too_prints_go_to_stderr(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout is no file, as in a test or a notebook."""
    monkeypatch.syspath_prepend(str(here))
    text = NOISY.replace("noise(", "print(").replace("def print(where)", "def _(where)").replace("atexit.register", "#")
    (here / "noisy_here.py").write_text(text)
    arguments = ["explain", "photo.png", "--model", "noisy_here:build", "--out", "out", "--json"]
    before = sys.stdout
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, sys.stdout) == (0, before)
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["image"] == "photo.png"
    assert {"at import", "in build", "in forward"} <= set(result.stderr.splitlines())


# What frameworks say while they are imported.

SPEAKING = """
import os, sys
os.write(1, b"built for speed\\n")
os.write(2, b"I0000 custom operations are on\\n")
print("Using the {name} backend")
sys.stderr.write("a warning\\n")
"""


@pytest.mark.parametrize("name", ["timm", "onnxruntime", "jax"])
def test_a_framework_that_is_imported_says_nothing(here: Path, name: str) -> None:
    (here / f"{name}.py").write_text(SPEAKING.format(name=name) + "loud = True\n")
    (here / "noisy.py").write_text(f"import {name}\nassert {name}.loud\n{NOISY}")
    done = process("explain", "photo.png", "--out", "out", "--model", "noisy:build", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"] == "photo.png"
    for words in ("built for speed", "custom operations", "backend", "a warning"):
        assert words not in done.stderr
    assert "print in forward" in done.stderr  # what comes after the import is told


@pytest.mark.parametrize("failure", ["raise ImportError('libfast.so is missing')", "raise RuntimeError('no device')"])
def test_a_framework_that_cannot_be_imported_says_why(here: Path, failure: str) -> None:
    (here / "onnxruntime.py").write_text(SPEAKING.format(name="onnxruntime") + failure)
    (here / "noisy.py").write_text(f"import onnxruntime\n{NOISY}")
    done = process("explain", "photo.png", "--out", "out", "--model", "noisy:build", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    *told, last = done.stderr.splitlines()
    assert told == ["built for speed", "I0000 custom operations are on", "Using the onnxruntime backend", "a warning"]
    assert last.startswith("Error: model 'noisy:build': importing its module failed.")


def test_every_framework_that_may_be_imported_is_known() -> None:
    """Those that pyproject.toml lets models/ and backends/ import."""
    import tomllib

    contracts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["importlinter"]
    (named,) = (c["forbidden_modules"] for c in contracts["contracts"] if c["name"].startswith("Only backends"))
    assert set(named) == FRAMEWORKS
