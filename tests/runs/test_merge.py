"""Several runs made one: each image once, what is missing told, and what was killed goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stores
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.runs.manifest import Manifest
from gradsight.runs.merge import merge_runs
from gradsight.runs.opened import open_run
from gradsight.runs.parts import PartWriter
from gradsight.runs.reading import Part
from gradsight.runs.schema import RunRow
from gradsight.runs.store import Store

pytestmark = pytest.mark.pytorch


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk takes its time to keep a file."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def shard(folder: Path, number: int, parts: list[list[RunRow]], count: int = 3, **about: Any) -> Path:
    with Store.open(folder / f"{number}", stores.manifest(shard=(number, count), **about)) as store:
        for i, rows in enumerate(parts):
            store.write(rows, 10 * number + i)
        store.finish(0, 0)
    return folder / f"{number}"


def test_shards_become_the_run_that_they_are_of(tmp_path: Path) -> None:
    rows = stores.plain_rows([f"{i:02}" for i in range(30)], notes=("a",), note_texts=("b",))
    whole = stores.write(tmp_path / "whole", [rows[:20], [*rows[20:], RunRow.failed("30", "no")]])
    shards = [
        shard(tmp_path, 1, [rows[:5], rows[5:10]]),
        shard(tmp_path, 2, [rows[10:20]]),
        shard(tmp_path, 3, [[*rows[20:], RunRow.failed("30", "no")]]),
    ]
    merged = merge_runs([*shards[1:], shards[0]], tmp_path / "out" / "run")
    assert list(merged.rows()) == list(open_run(whole).rows())
    assert merged.manifest == open_run(whole).manifest
    assert merged.manifest.missing == ()
    assert (merged.manifest.images, merged.manifest.failed, merged.manifest.complete) == (31, 1, True)
    # Runs stay what they were.
    assert len(open_run(shards[0])) == 10


def test_an_image_of_several_runs_is_taken_once_and_explained_if_one_explained_it(tmp_path: Path) -> None:
    one, two, three = (stores.plain_rows([key] * 2) for key in "abc")
    runs = [
        stores.write(tmp_path / "1", [[*one, RunRow.failed("b", "no memory")], [RunRow.failed("d", "first")]]),
        stores.write(tmp_path / "2", [[*one, *two], [*three, RunRow.failed("d", "second")]]),
    ]
    for given in (runs, runs[::-1], [*runs, *runs]):
        merged = merge_runs(given, tmp_path / f"out-{len(given)}-{given[0].name}")
        assert sorted(merged.images) == ["a", "b", "c"]
        assert sorted(row.key for row in merged.rows()) == ["a", "a", "b", "b", "c", "c", "d"]
        assert [key for key, _ in merged.failed] == ["d"]
        # In the files too, which other tools read.
        keys = [key for part in (merged.folder / "rows").iterdir() for table in Part(part).tables(["key"])
                for key in table["key"].to_pylist()]  # fmt: skip
        assert sorted(keys) == ["a", "a", "b", "b", "c", "c", "d"]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    shards = [shard(tmp_path, number, [stores.plain_rows([str(number)])], 4) for number in (1, 3)]
    with Store.open(shards[1], Manifest.read(shards[1])):
        pass  # it was begun again, and did not come to its end
    merged = merge_runs(shards, tmp_path / "run")
    assert not merged.manifest.complete
    assert merged.manifest.missing == (
        "shard 2/4",
        "shard 4/4",
        f"the rest of {str(shards[1])!r}, which did not come to its end",
    )
    assert "not complete" in repr(merged)
    # Later the others are there: the same folder goes on.
    more = [shard(tmp_path, number, [stores.plain_rows([str(number)])], 4) for number in (2, 3, 4)]
    again = merge_runs([shards[0], *more], tmp_path / "run")
    assert again.manifest.complete
    assert again.images == ("1", "2", "3", "4")


def test_a_merge_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {i: [stores.plain_rows([f"{i}{j}x", f"{i}{j}y"]) for j in "ab"] for i in (1, 2)}
    runs = [stores.write(tmp_path / f"{i}", rows) for i, rows in parts.items()]
    copy, copied = PartWriter.copy, []

    def killed(*given: Any) -> None:
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(given)
        copy(*given)

    monkeypatch.setattr(PartWriter, "copy", killed)
    with pytest.raises(KeyboardInterrupt):
        merge_runs(runs, tmp_path / "out")
    monkeypatch.undo()
    half = open_run(tmp_path / "out")
    assert (len(half), half.manifest.complete) == (6, False)
    merged = merge_runs(runs, tmp_path / "out")
    assert (len(merged), merged.manifest.complete, merged.table(["key"]).num_rows) == (8, True, 8)


def test_runs_of_different_things_are_refused_in_words(tmp_path: Path) -> None:
    one = stores.write(tmp_path / "1", [stores.plain_rows(["a"])])
    other = stores.write(tmp_path / "2", [], weights="1" * 64)
    apart = shard(tmp_path, 3, [], 5), shard(tmp_path, 4, [], 6)
    for runs, out, error, words in (
        ([one, other], "out", InvalidArgument, "number 2 differ: the model's weights"),
        ([one, one], "1", InvalidArgument, "`out` must be a new folder, and not one of `runs`"),
        (apart, "out", InvalidArgument, "shards of one number"),
        ([], "out", InvalidArgument, "`runs` must name at least one"),
        (str(one), "out", InvalidType, "`runs` must be a list of folders"),
        ([5], "out", InvalidType, "`run` must be"),
        ([tmp_path], "out", InvalidArgument, "must be the folder of a run"),
        ([one], 5, InvalidType, "`out` must"),
    ):
        with pytest.raises(error, match=words):
            merge_runs(runs, tmp_path / out if isinstance(out, str) else out)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()


def test_a_large_run_is_merged_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradsight.runs.parts._GROUP_ROWS", 5)
    runs = [stores.write(tmp_path / f"{i}", [stores.plain_rows([f"{i}-{j}" for j in range(40)])]) for i in (1, 2)]
    merged = merge_runs(runs, tmp_path / "out")
    # Row groups stay what they were: none is larger than one of the runs.
    assert {length for part in (merged.folder / "rows").iterdir() for length in Part(part).lengths()} == {5}
