"""A run that is killed, at whatever it does, goes on: each photo is there once, as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

import running
from running import Zygote, command, rows, torn

pytestmark = pytest.mark.pytorch
COUNT, BROKEN_EACH = 200, 20
SECONDS = 3.0
PLACES = ("write", "fsync", "replace")


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    found = Zygote(running.environment())
    yield found
    found.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which one in twenty is cut off."""
    return running.photos(tmp_path_factory.mktemp("photos"), COUNT, BROKEN_EACH)


@pytest.fixture(scope="module")
def undisturbed(zygote: Zygote, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> pyarrow.Table:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert zygote(asked(photos, folder / "run"), folder / "log") == 1, (folder / "log").read_text()
    return rows(folder / "run")


def asked(photos: Path, run: Path, workers: int = 1) -> list[str]:
    return command(photos, run, "--method", "gradcam", "--method", "layercam", "--top", 2, "--workers", workers)


def whole(run: Path) -> int:
    """How many photos are there, each once, in parts that can be read."""
    keys: list[set[str]] = [
        set(parquet.read_table(path, columns=["key"])["key"].to_pylist()) for path in run.glob("rows/*.parquet")
    ]
    assert len(set().union(*keys)) == sum(map(len, keys)), "a photo is in two parts"
    return sum(map(len, keys))


def check(seed: int, zygote: Zygote, photos: Path, undisturbed: pyarrow.Table, folder: Path, workers: int = 1) -> None:
    chance, run, log = random.Random(seed), folder / "run", folder / "log"
    for _ in range(chance.randint(1, 4)):
        place = chance.choice(PLACES)
        if chance.random() < 0.5:
            status = zygote(asked(photos, run, workers), log, after=chance.uniform(0, SECONDS))
        else:
            # Of a manifest and its name too: the first writes of a run are those.
            status = zygote(asked(photos, run, workers), log, at=[place, chance.randint(1, 6)])
        assert status in (-9, 1), log.read_text()
        before = whole(run) if run.exists() else 0
        if status == 1:
            break
    assert zygote(asked(photos, run, workers), log) == 1, log.read_text()
    assert whole(run) == COUNT >= before
    assert rows(run).equals(undisturbed)
    assert not torn(run)


def test_what_an_undisturbed_run_has(undisturbed: pyarrow.Table) -> None:
    failed = [row for row in undisturbed.to_pylist() if row["status"] == "failed"]
    assert len(failed) == COUNT // BROKEN_EACH
    assert all("truncated" in row["error"] or "cannot" in row["error"] for row in failed), failed
    # Two methods, two targets.
    assert undisturbed.num_rows == 4 * (COUNT - len(failed)) + len(failed)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on(workers: int, zygote: Zygote, photos, undisturbed, tmp_path: Path) -> None:
    check(0, zygote, photos, undisturbed, tmp_path, workers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_killed_runs_go_on(workers: int, seed: int, zygote: Zygote, photos, undisturbed, tmp_path: Path) -> None:
    check(seed, zygote, photos, undisturbed, tmp_path, workers)


@pytest.mark.parametrize("place", ["write", *(pytest.param(name, marks=pytest.mark.slow) for name in PLACES[1:])])
def test_a_run_killed_while_it_writes_has_what_it_had_written(
    place: str, zygote: Zygote, photos, undisturbed, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    assert zygote(asked(photos, run), log, at=[place, {"write": 3, "fsync": 7, "replace": 5}[place]]) == -9
    done = whole(run)
    assert 0 < done < COUNT
    assert zygote(asked(photos, run), log) == 1
    assert rows(run).equals(undisturbed)
    assert not torn(run)


def test_a_run_killed_at_its_first_write_begins_anew(zygote: Zygote, photos, undisturbed, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    assert zygote(asked(photos, run), log, at=["fsync", 1]) == -9
    assert torn(run)
    assert not (run / "manifest.json").exists()
    assert zygote(asked(photos, run), log) == 1, log.read_text()
    assert rows(run).equals(undisturbed)
    assert not torn(run)


def test_a_full_disk_ends_a_run_in_words_and_tears_nothing(zygote: Zygote, photos, undisturbed, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    # No file may grow beyond: the parts are larger, and the manifest is not.
    status = zygote(asked(photos, run), log, bytes=16_000)
    assert status == 2, log.read_text()
    assert "File too large" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert whole(run) == 0
    assert not torn(run)
    assert zygote(asked(photos, run), log) == 1
    assert rows(run).equals(undisturbed)
