"""Damaged files of Keras models: see `fuzz_files`."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import fuzz_files

# The files are the same on all engines.
QUICK = () if keras.backend.backend() == "tensorflow" else pytest.mark.slow


@pytest.mark.parametrize("kind", fuzz_files.KERAS_KINDS)
@pytest.mark.parametrize(
    "count", [pytest.param(20, marks=QUICK), pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
def test_damaged_files_end_in_a_model_or_an_error_of_ours(
    kind: str, count: int, tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    print(fuzz_files.check(kind, count, tmp_path, subprocess_env))
