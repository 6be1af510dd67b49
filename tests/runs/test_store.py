"""The store of a run: whole after a kill, of one process, and never of two things at once."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import stores
from gradsight.errors import InvalidArgument, InvalidType, MissingDependency
from gradsight.explaining.spec import ExplainSpec
from gradsight.models.spec import ModelSpec
from gradsight.runs import manifest as manifests
from gradsight.runs.digests import Done, digest, digests
from gradsight.runs.manifest import Manifest
from gradsight.runs.opened import open_run
from gradsight.runs.parts import PartWriter
from gradsight.runs.reading import Part, parts_in
from gradsight.runs.schema import RunRow, arrow_schema, columns
from gradsight.runs.store import Store
from gradsight.runs.table import rows_in, table_of
from gradsight.targets import Prediction

pytestmark = pytest.mark.pytorch

FULL = RunRow(
    key="cats/1.jpg",
    path="/photos/cats/1.jpg",
    fingerprint="file:00000000",
    width=300,
    height=200,
    label="cat",
    label_index=3,
    prediction=1,
    prediction_label="dog",
    probability=0.5,
    top=(Prediction(1, "dog", 0.5), Prediction(3, "cat", 0.3)),
    written="a dog",
    target=1,
    index=1,
    target_label="dog, not cat",
    sides=("dog", "cat"),
    place=(1.5, 2.0, 3.0, 4.0),
    score=-2.5,
    layers=("a", "b"),
    at="layers",
    method="fuse(gradcam)",
    title="Fused",
    map=b"\0\0\0<",
    scale=0.25,
    shape=(1, 2),
    input_size=(8, 16),
    seen=(-1.0, 0.0, 200.0, 300.5),
    signed=True,
    peak=(3, 4),
    box=(0, 0, 5, 6),
    area=0.125,
    border=0.0625,
    entropy=0.5,
    notes=("zero_map",),
    note_texts=("the map is zero everywhere",),
    features=b"\0<",
)


def failed(folder: Path, now: Manifest) -> str:
    with pytest.raises(InvalidArgument) as caught:
        Store.open(folder, now)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_the_same_after_they_were_written_and_read(tmp_path: Path) -> None:
    rows = [FULL, *stores.plain_rows(["ключ '1'\n.jpg"]), RunRow.failed("b.jpg", "it is empty", label="dog")]
    with Store.open(tmp_path / "run", stores.manifest()) as store:
        path = store.write(rows)
    (part,) = parts_in(tmp_path / "run")
    assert part.path == path
    assert rows_in(part.read(0, columns())) == rows
    # Any other tool reads the folder; nothing else lies there.
    assert parquet.read_table(tmp_path / "run" / "rows").to_pylist()[0]["prediction_label"] == "dog"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"manifest.json", "rows", ".lock", ".owner"}


def test_the_table_has_a_column_of_its_type_for_each_field() -> None:
    schema = arrow_schema()
    assert tuple(schema.names) == columns()
    assert {name: str(schema.field(name).type) for name in ("map", "scale", "shape", "score", "signed", "index")} == {
        "map": "binary",
        "scale": "float",
        "shape": "list<item: int32>",
        "score": "float",
        "signed": "bool",
        "index": "int32",
    }
    assert schema.metadata == {b"gradsight.version": b"1"}
    # What is made item by item by Arrow itself is the same.
    plain = pyarrow.Table.from_pylist(table_of([FULL]).to_pylist(), schema=schema)
    assert table_of([FULL]).equals(plain)


def test_names_that_are_no_text_are_kept_and_found(tmp_path: Path) -> None:
    key = os.fsdecode(b"caf\xe9.jpg")
    with Store.open(tmp_path / "run", stores.manifest()) as store:
        store.write(stores.plain_rows([key]))
    with Store.open(tmp_path / "run", stores.manifest()) as store:
        assert key in store.done
    assert open_run(tmp_path / "run").images == ("caf\\udce9.jpg",)


def test_which_keys_are_done() -> None:
    keys = [f"{i}.jpg" for i in range(1000)]
    done = Done(digests(keys))
    assert len(done) == 1000
    assert done.digests.nbytes == 16_000
    assert all(key in done for key in keys)
    assert not any(key in done for key in ("1000.jpg", "", 5, None))
    assert "a" not in Done(digests([]))
    # A digest may end in zeros, which NumPy's texts of bytes take for their end.
    ending = next(str(i) for i in range(2000) if digest(str(i)).endswith(b"\0"))
    assert ending in Done(digests([*keys, ending]))
    assert ending not in Done(digests(["a"]))


def test_a_run_goes_on_where_it_was_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begun = stores.manifest(batch_size=None, versions={"torch": "1"})
    with Store.open(folder, begun) as store:
        assert len(store.done) == 0
        store.save(stores.manifest(batch_size=24, versions={"torch": "1"}))
        store.write([*stores.plain_rows(["a", "b"]), RunRow.failed("c", "no")])
    with Store.open(folder, stores.manifest(versions={"torch": "2"})) as store:
        # The batch size that was found is kept; another version is told.
        assert store.manifest.batch_size == 24
        assert store.told == ('versions: torch "1" there, "2" now',)
        assert ("a" in store.done, "c" in store.done, "d" in store.done, store.failed) == (True, True, False, 1)
        store.finish(images=3, failed=1)
    assert Manifest.read(folder).complete
    with Store.open(folder, begun):
        assert not Manifest.read(folder).complete


def test_a_part_that_is_written_again_takes_the_place_of_itself(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [])
    writer = PartWriter(folder)
    first = writer.write(stores.plain_rows(["a", "b"]), 5)
    assert writer.write(stores.plain_rows(["a", "b"]), 5) == first
    assert len(list((folder / "rows").iterdir())) == 1
    assert writer.write(stores.plain_rows(["a", "c"]), 5) != first
    assert writer.write(stores.plain_rows(["a", "b"]), 6) != first


def test_images_are_never_cut_between_row_groups(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [])
    rows = [row for i in range(900) for row in stores.plain_rows([f"{i}"] * 3)]
    heavy = stores.plain_rows([str(i) for i in range(6)], map=bytes(3 << 20))
    for given in (rows, heavy):
        lengths = Part(PartWriter(folder).write(given)).lengths()
        assert sum(lengths) == len(given)
        assert len(lengths) > 1
        assert len(given) > 6 or lengths == (2, 2, 2)
        assert len(given) == 6 or all(length % 3 == 0 for length in lengths)


DIFFERENT: list[tuple[dict[str, Any], str]] = [
    ({"weights": "1" * 64}, "The model's weights: "),
    ({"name": "other"}, 'The model: "model" there, "other" now.'),
    ({"model": {"source": "timm:a"}}, 'How the model is loaded: null there, {"source": "timm:a"} now.'),
    ({"explain": {"method": "layercam", "layer": None}}, 'What is explained: method "gradcam" there, "layercam" now.'),
    ({"source": "others"}, 'The photos: "photos" there, "others" now.'),
    ({"features": True}, "Whether features are kept: false there, true now."),
    ({"shard": (1, 2)}, "The shard: null there, [1, 2] now."),
    ({"batch_size": 16}, "The batch size: 8 there, 16 now."),
    ({"preprocess": {"size": (224, 224), "assumed": False}}, "How photos are made the model's input: null there"),
]


@pytest.mark.parametrize(("change", "words"), DIFFERENT, ids=[next(iter(change)) for change, _ in DIFFERENT])
def test_a_run_of_something_else_is_refused_in_words(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    about: dict[str, Any] = {"explain": {"method": "gradcam", "layer": None}, "batch_size": 8}
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"])], **about)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    text = failed(folder, stores.manifest(**about | change))
    assert "is a run of something else. " in text
    assert words in text
    assert "Name another folder as `out`" in text
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}.items() >= {
        item for item in before.items() if item[0].name != ".owner"
    }
    with Store.open(folder, stores.manifest(**about)):  # the lock is open again
        pass


def test_a_manifest_is_the_same_after_json_and_lists_are_tuples(tmp_path: Path) -> None:
    spec, explain = ModelSpec("demo", picture={"size": 224}), ExplainSpec(("gradcam", "layercam"), targets=[1, 2])
    made = stores.manifest(
        model=manifests.plain(spec),
        explain=manifests.plain(explain),
        shard=(1, 3),
        preprocess={"size": (224, 224), "assumed": False},
    )
    read = Manifest.from_json(made.to_json())
    assert not read.differs(made)
    assert read.shard == (1, 3)
    assert manifests.plain(ExplainSpec(targets=lambda outputs: outputs[:, 0])) is None
    long = stores.manifest(model={"labels": ["word"] * 1000})
    (difference,) = long.differs(made)[:1]
    assert len(difference) < 250
    # The command line names a batch size to the explainer too, which decides over no row.
    other = stores.manifest(explain=manifests.plain(ExplainSpec(("gradcam",), batch_size=2)))
    assert not stores.manifest(explain=manifests.plain(ExplainSpec(("gradcam",)))).differs(other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[]", "must be an object"),
        ('{"version": 2}', "must be of version 1 or older"),
        ('{"name": 5}', "name must be a text"),
        ("{}", "must have 'name', which is missing"),
        ('{"name": "a", "shard": "1/2"}', "shard must be a list or None"),
    ],
)
def test_a_manifest_that_is_none_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    folder = stores.write(tmp_path / "run", [])
    (folder / "manifest.json").write_text(text)
    for call in (lambda: open_run(folder), lambda: Store.open(folder, stores.manifest())):
        with pytest.raises(InvalidArgument, match=words) as caught:
            call()
        assert "manifest.json" in str(caught.value)


def test_folders_of_other_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert "It holds other things, such as 'a.jpg'" in failed(tmp_path / "photos", stores.manifest())
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/nothing")):
        assert "cannot be written" in failed(place, stores.manifest())
    lost = stores.write(tmp_path / "lost", [stores.plain_rows(["a"])])
    (lost / "manifest.json").unlink()
    assert "holds rows and no manifest.json" in failed(lost, stores.manifest())
    with pytest.raises(InvalidType, match="`out` must be"):
        Store.open(5, stores.manifest())  # type: ignore[arg-type]


def test_the_second_process_is_told_who_writes(tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys, stores; from gradsight.runs.store import Store\n"
        "store = Store.open(sys.argv[1], stores.manifest()); print('open', flush=True); sys.stdin.read()"
    )
    support = str(Path(stores.__file__).parent)
    env = subprocess_env | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), support])}
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    text = failed(folder, stores.manifest())
    assert f"another process writes into {str(folder)!r}: process {other.pid} on " in text
    open_run(folder)  # to look at it nobody has to wait
    other.kill()
    other.communicate()
    with Store.open(folder, stores.manifest()):  # a killed process leaves no lock
        assert "another process" in failed(folder, stores.manifest())


def test_what_was_torn_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"])])
    (folder / "rows" / ".gradsight-0123.part").write_bytes(b"PAR1")
    (folder / ".gradsight-4567.part").write_bytes(b"{")
    (folder / "notes.txt").write_text("mine")
    # Killed before it had a manifest.
    (tmp_path / "new" / "rows").mkdir(parents=True)
    (tmp_path / "new" / ".gradsight-89ab.part").write_bytes(b"{")
    with Store.open(tmp_path / "new", stores.manifest()):
        assert not list((tmp_path / "new").glob(".gradsight-*"))
    with Store.open(folder, stores.manifest()) as store:
        assert len(store.done) == 1
    assert not list(folder.rglob(".gradsight-*"))
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("limit", [0, 700, 4000])
def test_on_a_full_disk_nothing_is_torn(tmp_path: Path, limit: int) -> None:
    folder = stores.write(tmp_path / "run", [stores.plain_rows(["a"])])
    with Store.open(folder, stores.manifest()) as store:
        before = sorted(folder.rglob("*"))
        was = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            # As a disk that is full after so many bytes.
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, was[1]))
            rows = stores.plain_rows([f"{i}" for i in range(50)], map=np.random.default_rng(0).bytes(200))
            with pytest.raises(InvalidArgument, match=r"cannot be written: File too large\. .* make room there"):
                store.write(rows, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, was)
            signal.signal(signal.SIGXFSZ, ignored)
        assert sorted(folder.rglob("*")) == before
        store.write(rows, 1)  # there is room again
    assert len(open_run(folder)) == 51


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (done.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append(f"{path} -> {to}"), replace(path, to)))
    folder = stores.write(tmp_path / "run", [])
    done.clear()
    path = PartWriter(folder).write(stores.plain_rows(["a"]))
    torn = done[0]
    assert Path(torn).name.startswith(".gradsight-")
    assert done == [torn, f"{torn} -> {path}", str(folder / "rows")]


def test_an_error_while_a_part_is_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stores.write(tmp_path / "run", [])

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidArgument, match="No space left on device"):
        PartWriter(folder).write(stores.plain_rows(["a"]))
    assert list((folder / "rows").iterdir()) == []


def test_without_its_packages_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(MissingDependency, match=r"pip install 'gradsight\[run\]'"):
        Store.open(tmp_path / "run", stores.manifest())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"pip install 'gradsight\[run\]'"):
        Store.open(tmp_path / "run", stores.manifest())
