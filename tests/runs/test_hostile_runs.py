"""A run of a stranger's executes nothing, and a broken one is answered in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import stores
from gradsight.auditing.of_run import seen_of_run
from gradsight.errors import GradsightError, InvalidArgument
from gradsight.limits import ARRAY_BYTES
from gradsight.results.wording import corner
from gradsight.runs.manifest import Manifest
from gradsight.runs.merge import merge_runs
from gradsight.runs.opened import open_run
from gradsight.runs.store import Store
from gradsight.runs.table import table_of

pytestmark = pytest.mark.pytorch

PHOTO: dict[str, Any] = {"width": 60, "height": 40, "seen": (0.0, 0.0, 40.0, 60.0), "path": "/nowhere/a.png"}


def looked_at(folder: Path) -> None:
    """All that can be asked of a run."""
    run = open_run(folder)
    repr(run), run.images, run.failed, run.table(["key", "map", "features", "top"]), run._repr_html_()
    for row in run.rows():
        repr(row)
    for each in run:
        for one in each if isinstance(each, tuple) else [each]:
            one.record(), one.heatmaps(), one.region(), one.boxes(), one._repr_html_()
            assert "photo" in said(one.overlay)


def said(call: Callable[[], object]) -> str:
    """What an error says, if there is one, in words for people."""
    try:
        call()
    except GradsightError as error:
        text = str(error)
    else:
        return ""
    assert "\n" not in text
    assert text.isprintable()
    assert len(text) < 1500
    return text


def written(folder: Path, table: pyarrow.Table, **options: Any) -> Path:
    folder = stores.write(folder, [])
    path = folder / "rows" / "part-000000000000-0123456789abcdef.parquet"
    with parquet.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"gradsight.version": "1"})
    return folder


def test_damaged_parts_are_told_of_in_words(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows([f"{i}" for i in range(30)], **PHOTO)])
    (path,) = (folder / "rows").iterdir()
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(60):
        damaged = bytearray(content)
        if rng.random() < 0.2:
            del damaged[int(rng.integers(len(damaged))) :]
        else:
            for place in rng.integers(0, len(damaged), rng.integers(1, 5)):
                damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        told += bool(said(lambda: looked_at(folder)))
    assert told > 20


def test_a_part_that_is_none_is_named_with_the_way_out(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"])])
    bad = folder / "rows" / "part-000000000001-0000000000000000.parquet"
    for content in (b"", b"PAR1", b"PAR1" * 100, b"\0" * 1000):
        bad.write_bytes(content)
        for call in (lambda: len(open_run(folder)), lambda: Store.open(folder, stores.manifest()),
                     lambda: merge_runs([folder], tmp_path / "out")):  # fmt: skip
            with pytest.raises(
                InvalidArgument, match=r"cannot be read as a part of a run: .* delete it and type"
            ) as caught:
                call()
            assert bad.name in str(caught.value)
    bad.unlink()
    os.mkfifo(bad)
    with pytest.raises(InvalidArgument, match="is a pipe"):
        len(open_run(folder))
    bad.unlink()
    bad.mkdir()
    with pytest.raises(InvalidArgument, match="is a folder"):
        len(open_run(folder))


VALUES: list[tuple[str, dict[str, Any]]] = [
    ("a map of another shape", {"shape": (3, 3)}),
    ("a negative shape", {"shape": (-1, 4)}),
    ("a shape without end", {"shape": (2**31 - 1, 2**31 - 1)}),
    ("a shape of no axes", {"shape": ()}),
    ("a shape of five axes", {"shape": (1, 1, 1, 2, 2)}),
    ("no map", {"map": None}),
    ("no scale", {"scale": None}),
    ("a scale that is no number", {"scale": float("nan")}),
    ("half a value", {"map": b"\0\0\0"}),
    ("an input without end", {"input_size": (2**31 - 1, 2**31 - 1)}),
    ("an input of none", {"input_size": ()}),
    ("an input of another number of axes", {"input_size": (8,)}),
    ("a photo without end", {"width": 2**31 - 1, "height": 2**31 - 1}),
    ("a photo of nothing", {"width": 0, "height": -1}),
    ("no size of the photo", {"width": None}),
    ("an empty region", {"seen": (0.0, 0.0, 0.0, 0.0)}),
    ("a region of three numbers", {"seen": (0.0, 0.0, 1.0)}),
    ("a region far away", {"seen": (-1e300, -1e300, 1e300, 1e300)}),
    ("no place", {"at": None}),
    ("another place", {"at": "__import__"}),
    ("too many layers", {"layers": ("a", "b")}),
    ("no method", {"method": None}),
    ("a label without end", {"target_label": "a" * 10**6}),
    ("no label", {"target_label": None}),
    ("control characters", {"target_label": "\x1b[2J\n<script>", "key": "\x1b[31m\n", "method": "<b>"}),
    ("a box of three numbers", {"place": (1.0, 2.0, 3.0)}),
    ("a box far away", {"place": (1e300, 1e300, 2e300, 2e300)}),
    ("a peak of one axis", {"peak": (1,), "box": (1, 2, 3, 4), "area": 0.5}),
    ("notes without words", {"notes": ("a", "b"), "note_texts": ("a",)}),
    ("an unknown status", {"status": "running"}),
    ("another target twice", {"target": -5}),
]


@pytest.mark.parametrize("change", [change for _, change in VALUES], ids=[name for name, _ in VALUES])
def test_rows_that_fit_each_other_not_are_refused_in_words(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"], **(PHOTO | change))])
    said(lambda: looked_at(folder))


def _nulls(table: pyarrow.Table, name: str) -> pyarrow.Table:
    return table.set_column(table.column_names.index(name), name, pyarrow.nulls(len(table), table[name].type))


def _typed(table: pyarrow.Table, name: str, values: list[Any]) -> pyarrow.Table:
    return _column(table, name, pyarrow.array(values))


def _no_text() -> pyarrow.Array:
    ends = pyarrow.py_buffer(np.array([0, 2], np.int32))
    return pyarrow.StringArray.from_buffers(1, ends, pyarrow.py_buffer(b"\xff\xfe"))


PREDICTION = {"index": 1, "label": "cat", "probability": 1.0}

TABLES: list[tuple[str, Any]] = [
    ("no keys", lambda table: _nulls(table, "key")),
    ("no status", lambda table: _nulls(table, "status")),
    ("no column of keys", lambda table: table.drop_columns(["key"])),
    ("keys are numbers", lambda table: _typed(table, "key", [1])),
    ("keys are lists", lambda table: _typed(table, "key", [[b"a"]])),
    ("a map of floats", lambda table: _typed(table, "map", [[1.0, 2.0]])),
    ("layers are a text", lambda table: _typed(table, "layers", ["a"])),
    ("a layer is missing", lambda table: _typed(table, "layers", [["a", None]])),
    ("shapes of large numbers", lambda table: _typed(table, "shape", [[2**40, 1]])),
    ("a prediction without words", lambda table: _typed(table, "top", [[PREDICTION | {"label": None}]])),
    ("a prediction that is missing", lambda table: _typed(table, "top", [[None]])),
    ("predictions of other fields", lambda table: _typed(table, "top", [[{"x": 1}]])),
    ("texts that are none", lambda table: _typed(table, "method", [b"\xff\xfe"])),
    ("keys that are no texts", lambda table: _column(table, "key", _no_text())),
    ("a column twice", lambda table: table.append_column("key", table["key"])),
    ("no rows", lambda table: table.slice(0, 0)),
]  # fmt: skip


@pytest.mark.parametrize("change", [change for _, change in TABLES], ids=[name for name, _ in TABLES])
def test_columns_of_other_types_are_refused_in_words(tmp_path: Path, change: Any) -> None:
    folder = written(tmp_path / "run", change(table_of(stores.plain_rows(["a"], **PHOTO))))
    said(lambda: looked_at(folder))


def test_a_small_file_that_claims_much_is_not_unpacked(tmp_path: Path) -> None:
    """A text of 30 MB, said by each of 10,000 rows, is 300 GB; the file has 40 kB."""
    row = table_of(stores.plain_rows(["a"], **PHOTO))
    same = pyarrow.array(np.zeros(10_000, np.int32))
    long = pyarrow.DictionaryArray.from_arrays(same, pyarrow.array(["x" * 30_000_000]))
    # Without Arrow's own schema, by which it would be read in the form in which it was written.
    plain = {"compression": "zstd", "store_schema": False}
    table = pyarrow.concat_tables([row] * 10_000).combine_chunks()
    folder = written(tmp_path / "run", _column(table, "target_label", long), **plain)
    maps = pyarrow.DictionaryArray.from_arrays(same, pyarrow.array([b"\0" * 30_000_000]))
    other = written(tmp_path / "other", _column(table, "map", maps), **plain)
    assert sum(path.stat().st_size for path in (folder / "rows").iterdir()) < 10**6
    code = (
        "import sys, resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2)\n"
        "import gradsight as gs\n"
        "for folder in sys.argv[1:]:\n"
        "    run = gs.open_run(folder)\n"
        "    print(len(run))\n"
        "    for call in (run.table, lambda: run.table(['map']), lambda: run[0], lambda: next(run.rows())):\n"
        "        try: print(type(call()).__name__)\n"
        "        except gs.GradsightError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(other)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "1"
    assert sum(f"over the limit of {ARRAY_BYTES.value:,} bytes" in line for line in lines) == 6, done.stdout


def _column(table: pyarrow.Table, name: str, values: pyarrow.Array) -> pyarrow.Table:
    return table.set_column(table.column_names.index(name), name, values)


def test_nothing_in_a_run_is_executed_or_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('done', 'w').write('x')")
    folder = stores.write(
        tmp_path / "run",
        [stores.plain_rows(["a"], method="evil:run()", at="layer", path=str(tmp_path / "evil.py"))],
        model={"source": "evil:model", "version": 1},
        explain={"method": "__import__('evil')", "version": 1},
        name="evil",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    looked_at(folder)
    merge_runs([folder], tmp_path / "out")
    assert not (tmp_path / "done").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("change", [
    {"versions": []}, {"shard": ["a", 1]}, {"shard": [1]}, {"shard": []}, {"complete": "yes"}, {"batch_size": 1.5},
    {"name": "\x1b[31m\n" * 10}, {"model": 5}, {"missing": [None]}, {"images": 10**400}, {"version": "1"},
    {"nothing": 1}, {"preprocess": {"a": 1}}, {"name": "x" * 10**6},
])  # fmt: skip
def test_manifests_of_other_values_are_refused_in_words(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"], **PHOTO)])
    plain = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(plain | change))
    for call in (
        lambda: looked_at(folder),
        lambda: merge_runs([folder], tmp_path / "out"),
        lambda: Store.open(folder, stores.manifest()).close(),
    ):
        said(call)


class Entered(pyarrow.ExtensionType):
    """As other libraries enter types, some of which unpickle what they are given."""

    made: ClassVar[list[bytes]] = []

    def __init__(self) -> None:
        super().__init__(pyarrow.string(), "tests.entered")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"code"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pyarrow.DataType, serialized: bytes) -> Entered:
        cls.made.append(serialized)
        return cls()


@pytest.mark.parametrize("length", range(6))
def test_types_of_other_libraries_are_not_made(tmp_path: Path, length: int) -> None:
    table = table_of(stores.plain_rows(["a"], **PHOTO))
    entered = pyarrow.ExtensionArray.from_storage(Entered(), pyarrow.array(["gradcam"]))
    table = _column(table, "method", entered).append_column("x" * length, pyarrow.array([1]))
    pyarrow.register_extension_type(Entered())
    try:
        folder = written(tmp_path / "run", table)
        Entered.made.clear()
        with pytest.raises(InvalidArgument, match="of a type that rows of a run do not have"):
            len(open_run(folder))
        assert not Entered.made
        # Read by PyArrow as it comes, it is made.
        parquet.read_schema(next((folder / "rows").iterdir()))
        assert Entered.made
    finally:
        pyarrow.unregister_extension_type("tests.entered")


@pytest.mark.parametrize("path", [
    "", "\0", "x.parquet!abc", "file://%00", "/dev/zero", "/proc/self/mem", "a" * 5000, "/nowhere/a.tar!b",
    "file:///nowhere!%ff", "/etc/passwd", "x.parquet!-1", "x.tar!", "\x1b[31m",
])  # fmt: skip
def test_a_path_of_a_stranger_s_is_answered_in_words(tmp_path: Path, path: str) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"], **(PHOTO | {"path": path}))])
    assert "the photo of 'a' cannot be drawn on" in said(open_run(folder)[0].overlay)


def test_a_key_is_shown_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["\x1b[31mred\n"], **PHOTO)], name="\x1b[2J")
    run = open_run(folder)
    assert "\x1b" not in repr(run)
    assert "\x1b" not in run._repr_html_()
    with pytest.raises(GradsightError) as caught:
        run[0].overlay()
    assert str(caught.value).isprintable()
    assert Manifest.read(folder).name == "\x1b[2J"


@pytest.mark.parametrize(("change", "words"), [
    ({"sides": ("a",)}, "`sides` must be two or none"), ({"sides": ("a", "b", "c")}, "`sides` must be two or none"),
    ({"sides": ("a", "b" * 200_000)}, "200000 letters"), ({"written": "x" * 200_000}, "200000 letters"),
    ({"notes": ("zero_map",)}, "1 `notes` and 0 `note_texts`"),
])  # fmt: skip
def test_rows_that_could_not_be_drawn_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"], **(PHOTO | change))])
    with pytest.raises(InvalidArgument, match=words):
        open_run(folder)[0]


@pytest.mark.parametrize(("change", "words"), [
    ({"features": b"x"}, "multiple of element size"), ({"input_size": (224,)}, "index out of range"),
    ({"map": b"xx"}, "cannot reshape"), ({"seen": (5.0, 5.0, 1.0, 1.0)}, "with an area"),
])  # fmt: skip
def test_what_cannot_be_audited_is_told_in_words(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"], **(PHOTO | {"prediction": 1} | change))])
    with pytest.raises(InvalidArgument, match=f"the rows of 'a' make no explanation: .*{words}"):
        seen_of_run(open_run(folder))


@pytest.mark.parametrize(("peak", "words"), [((-(10**6), 10**9), "top right"), ((10**9, -1), "bottom left")])
def test_heat_beside_the_photo_is_told_in_words(peak: tuple[int, int], words: str) -> None:
    assert corner(peak, (40, 60)) == words
