"""The photos of a run: folders, patterns and lists of paths; keys; where photos are found again."""

from __future__ import annotations

import os
import pickle
import random
import sys
from pathlib import Path

import pytest

from gradsight import limits
from gradsight.errors import ImageError, InvalidArgument, InvalidType
from gradsight.explaining.read_ahead import ReadAhead
from gradsight.folders import in_folders
from gradsight.imaging import read_image
from gradsight.photos import Photo
from gradsight.runs.items import Item, Items, items_of, reopened
from gradsight.runs.keys import Keys
from gradsight.runs.packed import Packed
from gradsight.runs.places import place_in, place_of
from runs_of import HARD_NAMES, found, grey, photo, png, tar


def keys(items: Items) -> list[str]:
    return [item.key for item in items]


def test_a_folder_gives_paths_in_it_and_its_folders_labels(tmp_path: Path) -> None:
    for i, name in enumerate(("b/2.jpg", "b/deep/3.png", "a/1.jpg", "0.JPG", ".hidden/4.jpg")):
        photo(tmp_path / name, i)
    (tmp_path / "a" / "notes.txt").write_text("")
    items = items_of(tmp_path)
    expected = [("0.JPG", 3, None), ("a/1.jpg", 2, "a"), ("b/2.jpg", 0, "b"), ("b/deep/3.png", 1, "b")]
    assert found(items) == expected
    assert found(items) == expected  # a second time
    assert (items.length, items.described, items.again) == (4, str(tmp_path), True)
    assert [item.path for item in items] == [str(tmp_path / key) for key, _, _ in expected]


@pytest.mark.parametrize("given", [str, Path])
def test_names_in_any_script_are_kept_and_found_again(tmp_path: Path, given: type) -> None:
    for i, name in enumerate(HARD_NAMES):
        photo(tmp_path / "猫" / name, i)
    items = list(items_of(given(tmp_path)))
    assert {item.key: grey(item) for item in items} == {f"猫/{name}": i for i, name in enumerate(HARD_NAMES)}
    for item in items:
        assert item.path is not None
        again = reopened(item.path.encode().decode())
        assert read_image(again).getpixel((0, 0))[0] == grey(item)  # type: ignore[index]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_names_that_are_no_text_are_written_out_and_found_again(tmp_path: Path) -> None:
    raw = [b"\xff\xfe.png", b"caf\xe9.png", rb"\xff\xfe.png"]
    for i, name in enumerate(raw):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(png(i))
    items = list(items_of(tmp_path))
    # The third one is called as the first is written out.
    assert sorted(item.key for item in items) == [r"\xff\xfe.png", r"\xff\xfe.png#2", r"caf\xe9.png"]
    for item in items:
        item.key.encode()
        assert item.path is not None
        item.path.encode()
        assert read_image(reopened(item.path)).getpixel((0, 0))[0] == grey(item)  # type: ignore[index]


def test_what_cannot_be_opened_is_a_photo_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path: str | Path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    items = items_of(tmp_path)
    assert items.length == 2
    *_, last = items
    with pytest.raises(ImageError, match="closed' cannot be opened: Permission denied"):
        read_image(last.source)  # type: ignore[arg-type]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    photo(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert keys(items_of(tmp_path)) == ["a/1.png"]
    assert keys(items_of(str(tmp_path / "**" / "*.png"))) == ["a/1.png"]


def test_folders_of_results_are_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "run" / "sheet.png")
    assert keys(items_of(tmp_path, leave_out=[tmp_path / "run"])) == ["a.jpg"]
    assert keys(items_of([tmp_path], leave_out=[tmp_path / "run"])) == ["a.jpg"]
    assert keys(items_of(str(tmp_path / "**"), leave_out=[tmp_path / "run"])) == ["a.jpg"]


def test_folders_are_gone_through_as_they_lie(tmp_path: Path) -> None:
    for name in ("b/c/1.txt", "a/2.txt", "3.txt"):
        photo(tmp_path / name)
    walked = [(str(folder.relative_to(tmp_path)), names) for folder, names in in_folders(tmp_path, suffixes=("",))]
    assert walked == [(".", ["3.txt"]), ("a", ["2.txt"]), ("b/c", ["1.txt"])]
    assert len(list(in_folders(tmp_path, recursive=False, suffixes=(".txt",)))) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/*.png", ["a/1.png", "a/2.png", "b/1.png"]),
        ("*", ["0.png", "a/1.png", "a/2.png", "a/deep/3.png", "b/1.png"]),
        ("**/1.png", ["a/1.png", "b/1.png"]),
        ("**/deep/*.png", ["a/deep/3.png"]),
        ("**/*/[12].png", ["a/1.png", "a/2.png", "b/1.png"]),
        ("a/**", ["1.png", "2.png", "deep/3.png"]),
        ("{b,a}/1.png", ["b/1.png", "a/1.png"]),
        ("a/{1..2}.png", ["1.png", "2.png"]),
        ("?.png", ["0.png"]),
    ],
)
def test_a_pattern_gives_what_it_fits(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("0.png", "a/1.png", "a/2.png", "a/deep/3.png", "b/1.png", ".hidden.png"):
        photo(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("a list, by its name")
    items = items_of(str(tmp_path / pattern))
    assert keys(items) == expected
    assert items.length == len(expected)
    assert [item.label for item in items] == [key.split("/")[0] if "/" in key else None for key in expected]


def test_a_folder_that_is_called_like_a_pattern_is_itself(tmp_path: Path) -> None:
    photo(tmp_path / "[a]*" / "1.png")
    assert keys(items_of(str(tmp_path / "[a]*"))) == ["1.png"]


@pytest.mark.parametrize(
    ("pattern", "error", "words"),
    [
        ("*.png", ImageError, "fits no picture"),
        ("{a,b}.png", InvalidArgument, "There is no file .*a.png', which the pattern names"),
        ("{0..99999999999}.png", InvalidArgument, "too many names, over the limit"),
        ("{0..999}{0..999}{0..999}.png", InvalidArgument, "too many names, over the limit"),
        ("missing", ImageError, "There is no file or folder"),
        ("file.xyz", InvalidType, "`source` must be a folder, a photo, a list"),
        (".", ImageError, "is a folder without pictures"),
        ("file\0.png", ImageError, "There is no file or folder"),
    ],
)
def test_what_is_wrong_with_a_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(limits.COUNT, "value", 10_000)
    (tmp_path / "file.xyz").write_text("")
    with pytest.raises(error, match=words):
        items_of(str(tmp_path / pattern))


@pytest.mark.parametrize("source", [5, b"bytes", None, int, object()])
def test_what_is_no_source_is_told(source: object) -> None:
    with pytest.raises(InvalidType, match=r"`source` must be a folder, .* Received: "):
        items_of(source)


def test_one_photo(tmp_path: Path) -> None:
    assert found(items_of(photo(tmp_path / "a.png", 7))) == [("a.png", 7, None)]


def test_a_list_of_paths_holds_whatever_a_path_can_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a/1.png"), 1)
    photo(Path("b/1.png"), 2)
    tar(Path("s.tar"), {"x.png": png(3)})
    Path("list.txt").write_text("a/1.png\n")
    items = items_of(["a/1.png", "a", "b", Path("s.tar"), "list.txt", "missing.png"])
    assert keys(items) == ["a/1.png", "a/1.png#2", "b/1.png", "s/x", "a/1.png#3", "missing.png"]
    assert items.length is None  # of a tar it is not known
    assert items_of(["a/1.png", "a", "b"]).length == 3
    monkeypatch.chdir("/")  # a worker may be elsewhere
    assert [grey(item) for item in list(items)[:5]] == [1, 1, 2, 3, 1]


def test_items_and_photos_pass_through(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", 9)
    items = items_of([Item("mine", path, label=3), Photo("theirs", "theirs", path), Photo("-", "-", png(1))])
    assert found(items) == [("mine", 9, 3), ("theirs", 9, None), ("-", 1, None)]
    assert [item.path for item in items] == [None, str(path), None]


def test_labels_replace_those_of_the_source(tmp_path: Path) -> None:
    paths = [photo(tmp_path / "a" / f"{i}.png") for i in range(3)]
    assert [item.label for item in items_of(tmp_path, labels=["cat", 3, None])] == ["cat", 3, None]
    with pytest.raises(InvalidArgument, match=r"`labels` must be one for each photo\. Received: 2 for 3 photos"):
        items_of(tmp_path, labels=[1, 2])
    with pytest.raises(InvalidArgument, match="Received: 2 for more photos"):
        list(items_of(iter(paths), labels=[1, 2]))


def test_items_can_be_pickled_and_read_by_threads(tmp_path: Path) -> None:
    paths: list[object] = [photo(tmp_path / f"{i}.png", i) for i in range(3)]
    tar(tmp_path / "s.tar", {"x.png": png(3), "y.png": png(4)})
    items = list(items_of([*paths, tmp_path / "s.tar"]))
    copies = pickle.loads(pickle.dumps(items))
    assert [(item.key, item.path, item.label) for item in copies] == [(x.key, x.path, x.label) for x in items]
    reading = ReadAhead(copies, grey)  # type: ignore[arg-type]
    reading.ahead(9)
    assert [reading.next().prepared for _ in copies] == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    reading.close()


def test_a_generator_is_gone_through_once() -> None:
    items = items_of(name for name in ("a.jpg", "b.jpg"))
    assert items.length is None
    assert not items.again
    assert keys(items) == ["a.jpg", "b.jpg"]
    with pytest.raises(InvalidArgument, match="gone through once"):
        iter(items)


def test_keys_differ_whatever_comes() -> None:
    given = ["a", "a#2", "a", "a", "b", "a#2", "", "", "a#3#2"]
    made = Keys()
    own = [made.own(key) for key in given]
    assert len(set(own)) == len(own)
    assert own[:5] == ["a", "a#2", "a#3", "a#4", "b"]
    drawn = random.Random(3)
    names = [f"{drawn.randrange(300)}{'#2' * drawn.randrange(3)}" for _ in range(20_000)]
    first, second = Keys(), Keys()
    own = [first.own(name) for name in names]
    assert len(set(own)) == len(own) == len(first)
    # What a photo is called depends on those before it alone.
    assert [second.own(name) for name in names[:5000]] == own[:5000]


def test_one_photo_a_hundred_thousand_times_takes_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    has = Keys._has

    def counted(self: Keys, key: str) -> bool:
        nonlocal looks
        looks += 1
        return has(self, key)

    monkeypatch.setattr(Keys, "_has", counted)
    made = Keys()
    own = {made.own("a.jpg") for _ in range(3000)}
    assert own == {"a.jpg", *(f"a.jpg#{i}" for i in range(2, 3001))}
    assert looks < 3000 * 24


def test_keys_take_little_memory() -> None:
    made = Keys()
    for i in range(50_000):
        made.own(str(i))
    assert made._table.itemsize * len(made._table) <= 24 * 50_000


def test_texts_are_packed_and_given_back() -> None:
    texts = ["a", "", "猫\n", "caf\udce9", "z"]
    packed = Packed(texts)
    assert list(packed) == list(packed) == texts
    assert len(packed) == 5
    assert list(Packed([])) == []


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/a/b.jpg", None),
        ("/a/1.tar", "b.jpg"),
        ("/a/1.tar!b.jpg", None),
        ("/a/1.tar!/2.tar", "b.jpg"),
        ("/a/1.tar", "2.tar!b.jpg"),
        ("/a/1.TGZ", "!"),
        ("/a/1.parquet", "17"),
        ("/a/\udcff.tar", "b\udcff!\n.jpg"),
        ("/a/1.tar", "\udcff"),
        ("/a/b!c%20.jpg", None),
    ],
)
def test_places_say_what_they_mean(path: str, member: str | None) -> None:
    text = place_of(path, member)
    text.encode()
    assert place_in(text) == (Path(path), member)
