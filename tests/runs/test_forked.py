"""Runs by copies of this process: the rows of this process alone, whatever ends them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradsight as gs
import running
from gradsight.errors import InvalidArgument, ModelError, UnknownName
from gradsight.runs.engines import forked
from gradsight.runs.making import Making
from gradsight.runs.progress import Progress

pytestmark = [
    pytest.mark.pytorch,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are copied on Linux"),
]
COUNT, BROKEN_EACH = 150, 15


@pytest.fixture(autouse=True)
def nothing_foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not imported TensorFlow or JAX; other tests may have. No copy is left afterwards."""
    for name in ("tensorflow", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    assert copies() == []


def copies() -> list[int]:
    """The processes below this one that are copies of it."""
    own = Path("/proc/self/cmdline").read_bytes()
    found = []
    for process in running._tree(os.getpid())[1:]:
        try:
            if Path(f"/proc/{process}/cmdline").read_bytes() == own:
                found.append(process)
        except OSError:  # it has ended
            continue
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.photos(tmp_path_factory.mktemp("photos"), COUNT, BROKEN_EACH)


def run(photos: object, out: Path, workers: int | None, **options: Any) -> gs.Run:
    # A batch that does not fit into a block evenly.
    options = {"targets": gs.Top(2), "batch_size": 24, "features": True, **options}
    return gs.run(photos, options.pop("model", running.MODEL), out=out, engine=gs.Local(workers), **options)


@pytest.fixture(scope="module")
def alone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of this process alone."""
    return run(photos, tmp_path_factory.mktemp("alone") / "run", 1).folder


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "rows").iterdir()}


def test_copies_write_the_same_parts(photos: Path, alone: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    found = run(photos, tmp_path / "run", 2, progress=told.append)
    assert parts(tmp_path / "run") == parts(alone)
    assert len(found.failed) == COUNT // BROKEN_EACH
    assert (told[-1].done, told[-1].failed, told[-1].total) == (COUNT, COUNT // BROKEN_EACH, COUNT)


def test_this_process_computes_as_before(photos: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    state, handler = torch.random.get_rng_state(), signal.getsignal(signal.SIGINT)
    run(photos, tmp_path / "run", 2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_number_is_looked_for_as_copies_compute(photos: Path, tmp_path: Path, monkeypatch) -> None:
    threads: list[int] = []
    explained = Making.explained

    def seen(self: Making, prepared: Any) -> Any:
        threads.append(torch.get_num_threads())
        return explained(self, prepared)

    monkeypatch.setattr(Making, "explained", seen)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        here = run(names(photos, 150), tmp_path / "run", 2, batch_size="auto")
        assert set(threads) == {2}
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    # What the trial has made of the first photos is taken over by the copy that has them.
    assert here.manifest.batch_size is not None
    again = run(names(photos, 150), tmp_path / "again", 1, batch_size=here.manifest.batch_size)
    assert len(running.rows(here.folder)) == len(running.rows(again.folder))


def slow(probe: Any, ops: Any) -> Any:
    """Grad-CAM, and time to be ended."""
    time.sleep(0.02)
    return ops.sum(probe.alphas[..., None, None] * probe.activations[:, None], axis=2)


def test_ctrl_c_ends_copies_at_once_and_the_run_goes_on(photos: Path, tmp_path: Path) -> None:
    def ended(progress: Progress) -> None:
        if progress.part is None and progress.done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", 2, methods=slow, progress=ended, batch_size=1, features=False)
    assert copies() == []
    found = run(photos, tmp_path / "run", 2, methods=slow, batch_size=1, features=False)
    assert len(found) + len(found.failed) == COUNT
    undisturbed = run(photos, tmp_path / "other", 1, methods=slow, batch_size=1, features=False)
    assert running.rows(found.folder).equals(running.rows(undisturbed.folder))


def test_a_copy_that_is_killed_ends_the_run_in_words(photos: Path, alone: Path, tmp_path: Path) -> None:
    here = os.getpid()

    def dying(probe: Any, ops: Any) -> Any:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return slow(probe, ops)

    with pytest.raises(ModelError, match=r"was killed.*--workers 1"):
        run(photos, tmp_path / "run", 2, methods=dying)
    assert not running.torn(tmp_path / "run")


def test_what_fits_no_photo_is_told_as_it_is_here(photos: Path, tmp_path: Path) -> None:
    here = os.getpid()

    def refusing(probe: Any, ops: Any) -> Any:
        if os.getpid() != here:
            raise UnknownName("there is no such thing in a copy.")
        return slow(probe, ops)

    with pytest.raises(UnknownName, match="no such thing in a copy"):
        run(photos, tmp_path / "run", 2, methods=refusing)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[forked.Room]:
    """How many copies were asked for; none is made, and nothing explained."""
    asked: list[forked.Room] = []

    def each(_work: object, room: forked.Room) -> Iterator[Any]:
        asked.append(room)
        yield from ()

    monkeypatch.setattr(forked, "each", each)
    monkeypatch.setattr(forked, "is_alone", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    return asked


def names(photos: Path, count: int) -> list[Path]:
    found = sorted(photos.rglob("*.png"))
    return [found[i % len(found)] for i in range(count)]


def test_a_large_run_has_a_copy_for_each_thread(photos: Path, tmp_path: Path, room: list[forked.Room]) -> None:
    run(names(photos, 1000), tmp_path / "run", None)
    run(iter(names(photos, 40)), tmp_path / "endless", None)
    assert room == [forked.Room(4, 1), forked.Room(4, 1)]


def test_a_run_that_goes_on_is_made_as_it_was_begun(
    photos: Path, tmp_path: Path, room: list[forked.Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 128 photos for each of three copies, however many are left.
    run(names(photos, 432), tmp_path / "run", None)
    monkeypatch.setattr("gradsight.runs.run.left", lambda photos, _done: iter(list(photos)[-20:]))
    run(names(photos, 432), tmp_path / "run", None)
    assert room == [forked.Room(3, 1), forked.Room(3, 1)]
    run(names(photos, 864), tmp_path / "half", None, shard=(1, 2))
    assert room[2:] == [forked.Room(3, 1)]


def test_this_process_alone_makes_what_copies_would_not_make_quicker(
    photos: Path, tmp_path: Path, room: list[forked.Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(run(photos, tmp_path / "few", None)) > 0
    several = names(photos, 300)
    assert len(run([path.read_bytes() for path in several], tmp_path / "bytes", None)) > 0
    assert len(run([np.zeros((70, 70, 3), np.uint8)] * 300, tmp_path / "arrays", None)) == 300
    monkeypatch.setattr(forked, "is_alone", lambda: False)
    assert len(run(several, tmp_path / "threads", None)) > 0
    monkeypatch.setattr(forked, "is_alone", lambda: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert len(run(several, tmp_path / "thread", None)) > 0
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setitem(sys.modules, "jax", sys)
    assert len(run(several, tmp_path / "jax", None)) > 0
    assert room == []


def test_another_thread_is_seen() -> None:
    before, stop = threading.active_count(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert threading.active_count() == before + 1
        assert not forked.is_alone()
    finally:
        stop.set()
        thread.join()


def test_copies_that_cannot_run_the_model_are_refused(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(InvalidArgument, match=r"`workers` can be more than 1 for a PyTorch model.*Received: 2"):
        run(photos, tmp_path / "run", 2)
    assert not (tmp_path / "run").exists()
