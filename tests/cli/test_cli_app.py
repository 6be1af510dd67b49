"""`gradsight app`: what it refuses before a model is loaded, and a page that is there until it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import commands
from commands import MODEL, run
from conftest import ROOT

here, models = commands.here, commands.models  # fixtures

pytestmark = pytest.mark.pytorch


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--password must be given where others can reach the page"),
        (["--host", "0.0.0.0", "--password", "short"], "at least 8 letters"),
        (["--model", MODEL, "--model", "demo", "--weights", "a.pt"], "--weights must be given once for each --model"),
        (["--run", "nowhere"], "`run` must be the folder of a run"),
        (["--evaluation", "nowhere"], "'nowhere"),
        (["--size", "x"], "--size"),
        (["--port", "0"], "--port"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(here: Path, arguments: list[str], words: str) -> None:
    result = run("app", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 or "--port" in words


def test_without_gradio_a_line_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = run("app", "--model", MODEL)
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "Error: the page is shown by Gradio, which is not installed. Install it: pip install 'gradsight[app]'."
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_page_is_there_until_it_is_ended(
    here: Path, models: Path, tmp_path: Path, subprocess_env: dict[str, str], number: signal.Signals
) -> None:
    import httpx

    environment = {**subprocess_env, "TMPDIR": str(tmp_path), "COLUMNS": "200"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(models), environment["PYTHONPATH"]])
    process = subprocess.Popen(
        [sys.executable, "-m", "gradsight", "app", "--model", MODEL],
        env=environment,
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("The page is at http://127.0.0.1:")
    page = said.removeprefix("The page is at ").partition(" ")[0].rstrip(".")
    assert "gradsight" in httpx.get(page).text
    assert [path.name[:15] for path in tmp_path.glob("gradsight-page-*")] == ["gradsight-page-"]
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # Ctrl-C is how a page is ended; another signal is told to who started it.
    assert process.returncode == (0 if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in errors
    assert list(tmp_path.glob("gradsight-page-*")) == []
