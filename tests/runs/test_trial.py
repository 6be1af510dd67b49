"""The trial before a run: how many photos it explains, and what number it finds."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gradsight.runs.engines.forked import Room, as_in_a_copy
from gradsight.runs.item import Item
from gradsight.runs.plan import Numbered, numbered
from gradsight.runs.trial import FIRST, tried


class Counting:
    """Explains nothing, by a clock that it moves itself: a batch takes ``fixed`` seconds, and one for each photo."""

    def __init__(self, clock: list[float], fixed: float, *, compiles_by_size: bool) -> None:
        self.clock, self.fixed, self.compiles_by_size = clock, fixed, compiles_by_size
        self.sizes: list[int] = []

    def prepare(self, _photo: object) -> Any:
        return SimpleNamespace(array=np.zeros((3, 2, 2), np.float32), photo=SimpleNamespace(size=(2, 2)))

    def whole(self, *_: object) -> list[Any]:
        return [SimpleNamespace(layers=("last",))]

    def explained(self, batch: Sequence[object]) -> None:
        self.sizes.append(len(batch))
        self.clock[0] += self.fixed + len(batch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only those who explain move on."""
    time = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: time[0])
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    return time


def first_photos() -> list[Numbered]:
    return list(numbered(Item(f"{i}", b"") for i in range(FIRST)))


@pytest.mark.parametrize(("count", "compiles", "size", "most"), [
    (None, False, 32, 254),
    (10_000, False, 32, 254),
    (480, False, 8, 30),
    (100, False, 4, 6),
    (32, False, 4, 2),
    (1, False, 4, 0),
    (2000, True, 1, 0),
    (10_000, True, 32, 254),
])  # fmt: skip
def test_a_short_run_is_no_longer_for_its_trial(
    count: int | None, compiles: bool, size: int, most: int, clock: list[float]
) -> None:
    making: Any = Counting(clock, 2.0, compiles_by_size=compiles)
    photos = first_photos()
    trial = tried(making, photos, None, count)
    assert (trial.batch_size, trial.layers) == (size, ("last",))
    assert sum(making.sizes) <= max(1, most)  # one has to show that photos can be explained


@pytest.mark.parametrize(("count", "size", "most"), [(400, 2, 1), (1023, 2, 1), (2048, 2, 4), (None, 32, 254)])
def test_beside_others_a_trial_is_shorter(count: int | None, size: int, most: int, clock: list[float]) -> None:
    making: Any = Counting(clock, 2.0, compiles_by_size=False)
    photos = first_photos()
    with as_in_a_copy(Room(workers=4, threads=1)) as worth:
        assert torch.get_num_threads() == 1
        trial = tried(making, photos, None, count, worth)
    assert sum(making.sizes) <= most
    assert trial.batch_size == size


def test_a_number_that_is_given_is_not_looked_for() -> None:
    making: Any = Counting([0.0], 2.0, compiles_by_size=False)
    photos = list(numbered([Item("one", b"")]))
    assert tried(making, photos, 6, 1).batch_size == 6
    assert making.sizes == [1]


def test_a_number_that_fails_is_not_taken() -> None:
    class Failing(Counting):
        def explained(self, batch: Sequence[object]) -> None:
            if len(batch) > 1:
                raise MemoryError
            super().explained(batch)

    photos = first_photos()
    making: Any = Failing([0.0], 2.0, compiles_by_size=False)
    assert tried(making, photos, None, 100).batch_size == 1
