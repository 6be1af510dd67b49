"""Keras on each of its engines: the tests in `on_keras`, each engine in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent / "on_keras"
ENGINES = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name) is not None]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    return tmp_path_factory.mktemp("keras")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_test_passes_on(engine: str, results: Path) -> None:
    environment = {
        **os.environ,
        "KERAS_BACKEND": engine,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_COMPILATION_CACHE_DIR": str(results / "compiled"),  # most tests compile the same passes
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "GRADSIGHT_KERAS_MAPS": str(results / f"{engine}.npz"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TESTS / "test_keras.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=TESTS.parent.parent)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


# Each is within 1e-5 of the oracle.
def test_the_engines_give_the_same_maps(results: Path) -> None:
    by_engine = [dict(np.load(path)) for path in sorted(results.glob("*.npz"))]
    if len(by_engine) < 2:
        pytest.skip("fewer than two engines ran")
    first, *others = by_engine
    assert first
    for other in others:
        for name in set(first) & set(other):
            maps = first[name]
            np.testing.assert_allclose(other[name], maps, atol=2e-5 * np.abs(maps).max(), rtol=0, err_msg=name)
