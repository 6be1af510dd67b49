"""``python -m gradsight``."""

from __future__ import annotations

import subprocess
import sys

import gradsight as gs


def test_the_package_runs_as_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "gradsight", "-V"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"gradsight {gs.__version__}\n", "")
