"""Damaged model files of each kind end in a model or in an error of ours, soon, in little memory, and run nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz_files

pytestmark = pytest.mark.pytorch


@pytest.mark.parametrize("kind", fuzz_files.KINDS)
@pytest.mark.parametrize("count", [20, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_damaged_files_end_in_a_model_or_an_error_of_ours(
    kind: str, count: int, tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    print(fuzz_files.check(kind, count, tmp_path, subprocess_env))
