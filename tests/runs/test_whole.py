"""Runs as a whole: two processes and one run, and parts of a run that are merged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradsight as gs
import running
from gradsight.runs.progress import Progress

pytestmark = pytest.mark.pytorch

ASKED = {"methods": ["gradcam", "layercam"], "targets": gs.Top(2), "batch_size": 8}
SECOND = "import sys; from gradsight.cli import main; sys.argv = sys.argv[1:]; main()"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two sizes, some of them broken, some with names in every script."""
    folder = running.photos(tmp_path_factory.mktemp("photos"), 200, 20)
    running.hostile(folder / "names")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> gs.Run:
    return gs.run(photos, running.MODEL, out=tmp_path_factory.mktemp("whole") / "run", **ASKED)


def test_shards_that_are_merged_are_the_whole(run: gs.Run, photos: Path, tmp_path: Path) -> None:
    parts = [gs.run(photos, running.MODEL, out=tmp_path / f"{i}", shard=(i, 3), **ASKED) for i in (1, 2, 3)]
    assert [len(part) + len(part.failed) for part in parts] == [76, 75, 75]
    random.Random(0).shuffle(parts)
    merged = gs.merge_runs([part.folder for part in parts], tmp_path / "merged")
    assert merged.manifest.complete
    assert len(merged) == len(run)
    whole, found = running.rows(run.folder), running.rows(merged.folder)
    for name in whole.column_names:
        if name in ("score", "probability", "border", "entropy", "area", "scale", "top", "map", "features"):
            continue
        assert found[name].equals(whole[name]), name
    # A shard has other photos in a batch, and so sums in another order.
    for name in ("score", "probability", "border", "entropy", "scale"):
        np.testing.assert_allclose(*(np.array(table[name].to_pylist(), float) for table in (found, whole)), rtol=1e-4)
    for key in run.images[::17]:
        for one, other in zip(merged[key], run[key], strict=True):
            np.testing.assert_allclose(one.maps, other.maps, rtol=2e-3, atol=1e-3 * np.abs(other.maps).max())


def test_a_missing_shard_is_told(photos: Path, tmp_path: Path) -> None:
    parts = [gs.run(photos, running.MODEL, out=tmp_path / f"{i}", shard=(i, 3), **ASKED) for i in (1, 3)]
    merged = gs.merge_runs([part.folder for part in parts], tmp_path / "merged")
    assert not merged.manifest.complete
    assert "2" in str(merged.manifest.missing)


def test_a_second_process_on_a_run_is_told(photos: Path, tmp_path: Path) -> None:
    told: list[subprocess.CompletedProcess[str]] = []

    def begin(progress: Progress) -> None:
        if not told:
            words = running.command(photos, tmp_path / "run")
            told.append(
                subprocess.run(
                    [sys.executable, "-c", SECOND, "gradsight", *words],
                    env=running.environment(),
                    capture_output=True,
                    text=True,
                    check=False,
                )
            )

    done = gs.run(photos, running.MODEL, out=tmp_path / "run", batch_size=8, progress=begin)
    assert told[0].returncode == 2, told[0].stderr
    assert "another process" in told[0].stderr
    assert str(os.getpid()) in told[0].stderr
    assert len(done) + len(done.failed) == 200 + len(running.NAMES)


def test_every_photo_is_found_again_by_its_key_and_drawn(run: gs.Run) -> None:
    found = {key.rpartition("/")[2] for key in run.images if key.startswith("names/")}
    assert len(found) == len(running.NAMES)
    assert {'it\'s "quoted".png', "new\nline.png", "猫と珈琲.png", "no-\\xff-text.png"} <= found
    for key in run.images:
        if key.startswith("names/"):
            assert run[key][0].overlay().size == (80, 72)
