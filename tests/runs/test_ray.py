"""Runs on the workers of Ray: the rows of this process, each once, also where workers are lost."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gradsight as gs
import running
from gradsight.errors import InvalidArgument, InvalidType, ModelError
from gradsight.runs.engines import spread as spreading
from gradsight.runs.engines.cluster import Cluster, Room, joined
from gradsight.runs.engines.spread import spread
from gradsight.runs.progress import Progress

pytest.importorskip("ray.data")
# Ray warns of its own settings when it copies them.
pytestmark = [pytest.mark.pytorch, pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with joined(Cluster(workers=2)) as found:
        yield found


def threes(count: int, fails: bool = False) -> Iterator[list[int]]:
    yield from ([i, i + 1, i + 2] for i in range(count))
    if fails:
        raise InvalidArgument("`source` ended early.")


class Adding:
    """Adds what is in a part; dies at one as often as is said, which files tell."""

    def __init__(self, folder: Path, dies_at: int = -1, times: int = 0, raises_at: int = -1) -> None:
        self.folder, self.dies_at, self.times, self.raises_at = folder, dies_at, times, raises_at

    def __call__(self, part: list[int]) -> tuple[int, str]:
        deaths = len(list(self.folder.iterdir()))
        if part[0] == self.dies_at and deaths < self.times:
            (self.folder / f"death{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if part[0] == self.raises_at:
            raise ValueError(f"no {part[0]}")
        return sum(part), os.environ.get("OMP_NUM_THREADS", "")


def adding(*arguments: object) -> Callable[[], Adding]:
    return functools.partial(Adding, *arguments)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_part_comes_back_once_though_workers_die(room: Room, tmp_path: Path) -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    before = {name: getattr(context, name) for name in spreading._SETTINGS}
    found = list(spread(functools.partial(threes, 12), adding(tmp_path, 5, 2), room))
    assert sorted((one.number, one.made[0]) for one in found) == [(i, 3 * i + 3) for i in range(12)]
    assert {one.number: one.tries for one in found}[5] == 3
    # As many threads as are told to Ray: the same sums in the same order wherever a part is made.
    assert {one.made[1] for one in found} == {"1"}
    assert {name: getattr(context, name) for name in spreading._SETTINGS} == before


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_part_that_ends_every_worker_ends_the_run_in_words(room: Room, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ended each of 4 workers .* \[5, 6, 7\]"):
        list(spread(functools.partial(threes, 12), adding(tmp_path, 5, 99), room))
    assert len(list(tmp_path.iterdir())) == spreading.MOST_TRIES


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_errors_are_those_of_the_worker_and_of_the_source(room: Room, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no 3") as caught:
        list(spread(functools.partial(threes, 12), adding(tmp_path, -1, 0, 3), room))
    assert any("in __call__" in note for note in caught.value.__notes__)
    # What it gave before it failed is made first.
    coming = spread(functools.partial(threes, 3, True), adding(tmp_path), room)
    assert sorted(next(coming).number for _ in range(3)) == [0, 1, 2]
    with pytest.raises(InvalidArgument, match="`source` ended early"):
        next(coming)


@pytest.mark.slow
def test_no_parts_are_no_error(room: Room, tmp_path: Path) -> None:
    assert not list(spread(functools.partial(threes, 0), adding(tmp_path), room))


def test_what_no_other_process_can_have_is_refused_in_words(room: Room, tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(InvalidType, match=r"`source` must be something that can be sent .* engine='local'"):
        list(spread(lambda: [lock], adding(tmp_path), room))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two sizes, some of them broken, some with names in every script."""
    folder = running.photos(tmp_path_factory.mktemp("photos"), 200, 20)
    running.hostile(folder / "names")
    return folder


def run(source: object, out: Path, model: object = running.MODEL, **more: object) -> gs.Run:
    asked = {"methods": ["gradcam", "layercam"], "targets": gs.Top(2), "batch_size": 8, **more}
    return gs.run(source, model, out=out, **asked)


@pytest.mark.timeout(180)
def test_rows_are_those_of_this_process_though_a_worker_is_killed(
    room: Room, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("process-*")]
        others = [worker for worker in workers if worker != os.getpid()]
        if progress.part and others and not killed:
            killed.append(others[0])
            os.kill(others[0], signal.SIGKILL)

    there = run(photos, tmp_path / "ray", "running:telling", engine="ray", progress=kill, features=True)
    here = run(photos, tmp_path / "local", "running:telling", features=True)
    assert killed
    assert running.rows(tmp_path / "ray").equals(running.rows(tmp_path / "local"))
    assert len(there) == len(here) == 190 + len(running.NAMES)
    assert len(there.failed) == 10
    assert (there.manifest.engine, there.manifest.complete) == ("ray", True)
    assert not running.torn(tmp_path / "ray")
    # Where all is done nothing is begun.
    before = sorted((tmp_path / "ray" / "rows").iterdir())
    run(photos, tmp_path / "ray", "running:telling", engine="ray", features=True)
    assert sorted((tmp_path / "ray" / "rows").iterdir()) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_whose_own_process_is_killed_goes_on_here(photos: Path, tmp_path: Path) -> None:
    def begun(name: str, *more: str) -> subprocess.Popen[bytes]:
        words = running.command(photos, tmp_path / name, "--method", "gradcam", "--top", 2, *more)
        main = [sys.executable, "-c", "from gradsight.cli import main; main()", *words]
        return subprocess.Popen(main, env=running.environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    killed = begun("ray", "--engine", "ray", "--workers", "2")
    while killed.poll() is None and not list((tmp_path / "ray").glob("rows/*.parquet")):
        time.sleep(0.02)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    done = running.rows(tmp_path / "ray").num_rows
    # Begun by one engine, ended by the other: the same rows, each once.
    assert [begun(name).wait() for name in ("ray", "local")] == [1, 1]
    assert running.rows(tmp_path / "ray").equals(running.rows(tmp_path / "local"))
    assert 0 < done < running.rows(tmp_path / "local").num_rows


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_other_weights_on_a_worker_are_told(room: Room, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`model` must have the same weights on each machine"):
        run(photos, tmp_path / "run", "running:random_weights", engine="ray")
    assert not list((tmp_path / "run" / "rows").iterdir())


def test_what_workers_cannot_load_or_read_is_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    net, preprocess, _ = running.build()
    with pytest.raises(InvalidArgument, match="`model` must be something that each worker can load"):
        run(photos, tmp_path / "run", gs.Model(net, preprocess=preprocess), engine="ray")
    with pytest.raises(InvalidArgument, match="`source` must be photos that can be gone through again"):
        run(iter([photos / "0/0000.png"]), tmp_path / "run", engine=gs.Ray(workers=1))
    assert not (tmp_path / "run").exists()


def test_more_gpus_than_there_are_and_a_second_address_are_refused(room: Room) -> None:
    with (
        pytest.raises(InvalidArgument, match=r"`gpus_per_worker` must be .* there are 0 GPUs"),
        joined(Cluster(None, 8)),
    ):
        pass
    with pytest.raises(InvalidArgument, match="`address` is for a process that has not joined"), joined(Cluster("x")):
        pass


def test_no_negative_gpus_and_no_half_workers() -> None:
    for wrong in ({"gpus_per_worker": -1}, {"workers": 0}, {"address": 3}):
        with pytest.raises((InvalidArgument, InvalidType), match=f"`{next(iter(wrong))}` must be"):
            Cluster(**wrong)
