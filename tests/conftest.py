"""What every test shares."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch

import browsers
import frameworks
from gradsight.metric_registry import METRICS
from gradsight.registry import METHODS, SOURCES

if not frameworks.ON_KERAS:
    import torchvision_shim

    torchvision_shim.install()

collect_ignore = [] if frameworks.ON_KERAS else ["on_keras"]

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SEED = 20161007

# The networks are small and many: compiling them takes longer than running them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# No test may reach for a hub: what a package does not carry, a test makes.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
# ultralytics writes settings into the user's folder, and looks for updates.
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / "gradsight-tests-yolo"))
os.environ["YOLO_OFFLINE"] = "true"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for the framework of this process."""
    here = [item for item in items if not frameworks.LEFT_OUT & {mark.name for mark in item.iter_markers()}]
    config.hook.pytest_deselected(items=[item for item in items if item not in here])
    items[:] = here


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of photos beside the checkout, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent: these photos are not part of the repository")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A current folder to write modules into; they and the folder are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    yield SimpleNamespace(path=tmp_path, write=write)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def subprocess_env() -> dict[str, str]:
    """The environment for a Python process that may import torchvision, as a dict for ``subprocess.run(env=...)``."""
    paths = [str(TESTS / "support/site"), str(TESTS / "support"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, for tests marked `browser`."""
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def entered() -> Iterator[None]:
    """Take out again what a test enters as a method, a metric or a source."""
    yield
    for entries in (METHODS._entries, METRICS._entries, SOURCES._entries):
        for name, entry in list(entries.items()):
            if not getattr(entry.function, "__module__", "").startswith("gradsight."):
                del entries[name]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state."""
    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)
