"""Random calls of everything public, in a process of their own under limits of memory; see `fuzz_api`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.pytorch


def found(seed: int, calls: int, env: dict[str, str]) -> dict[str, Any]:
    command = [
        sys.executable,
        str(Path(__file__).with_name("support") / "fuzz_api.py"),
        f"--seed={seed}",
        f"--calls={calls}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.stdout, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check(report: dict[str, Any], calls: int) -> None:
    assert report["found"] == []
    # Neither may crowd out the other: calls that are all refused at once would try nothing.
    assert report["ok"] > calls / 4
    assert report["refused"] > calls / 4


def test_random_calls_return_or_are_refused_in_words(subprocess_env: dict[str, str]) -> None:
    check(found(17, 300, subprocess_env), 300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_random_calls_return_or_are_refused_in_words(seed: int, subprocess_env: dict[str, str]) -> None:
    check(found(seed, 2000, subprocess_env), 2000)
