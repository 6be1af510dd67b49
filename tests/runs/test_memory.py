"""The memory of a run does not grow with its photos, here and on Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

import running

pytestmark = [pytest.mark.pytorch, pytest.mark.slow]

FEW, MANY = 1_000, 20_000


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "engine", [["local", "--workers", "1"], ["local", "--workers", "2"], ["ray", "--workers", "2"]]
)
def test_twenty_times_the_photos_take_the_memory_of_a_thousand(engine: list[str], tmp_path: Path) -> None:
    found = sorted(running.photos(tmp_path / "photos", 200).rglob("*.png"))
    peaks = {}
    for count in (FEW, MANY):
        # The same files again and again: each time they are photos of their own, with keys of their own.
        names = (str(found[i % len(found)]) for i in range(count))
        (tmp_path / f"{count}.txt").write_text("\n".join(names) + "\n")
        words = running.command(tmp_path / f"{count}.txt", tmp_path / f"run{count}", "--engine", *engine)
        ever, at_once = running.peaks(words)
        # Of Ray's processes those that live at one moment: it ends and starts some that have nothing to do.
        peaks[count] = at_once if engine[0] == "ray" else ever
        assert len(set(running.rows(tmp_path / f"run{count}")["key"].to_pylist())) == count
    print(engine, peaks)
    assert peaks[MANY] < 1.05 * peaks[FEW], peaks
