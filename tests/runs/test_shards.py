"""Tars of photos: WebDataset's layout, and what strangers may put into a tar."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gradsight import limits
from gradsight.errors import GradsightError, ImageError
from gradsight.imaging import read_image
from gradsight.runs import tars
from gradsight.runs.items import Item, items_of, reopened
from runs_of import HARD_NAMES, found, grey, photo, png, tar

MODES = {"1.tar": "w", "1.tar.gz": "w:gz", "1.tgz": "w:gz"}


def error_of(item: Item) -> str:
    with pytest.raises(GradsightError) as caught:
        read_image(item.source)  # type: ignore[arg-type]
    return str(caught.value)


def again(item: Item) -> int:
    assert item.path is not None
    return read_image(reopened(item.path)).getpixel((0, 0))[0]  # type: ignore[index]


@pytest.mark.parametrize("name", MODES)
def test_samples_are_photos_with_the_labels_beside_them(tmp_path: Path, name: str) -> None:
    members = {
        "a/1.png": png(1),
        "a/1.cls": b"281",
        "a/2.json": b'{"caption": "two", "label": "cat"}',
        "a/2.PNG": png(2),
        "3.txt": b"a dog",
        "3.png": png(3),
        "4.png": png(4),
        "4.mask.png": png(255),
        "4.txt": b"a caption\nof two lines",
        "5.left.png": png(5),
        "5.right.png": png(6),
        "5.cls": b"7",
        "notes.md": b"",
        "._6.png": b"of macOS",
        "7.json": b"{not json",
        "7.png": png(7),
    }
    items = items_of(tar(tmp_path / name, members, MODES[name]))
    assert found(items) == [
        ("1/a/1", 1, 281),
        ("1/a/2", 2, "cat"),
        ("1/3", 3, "a dog"),
        ("1/4", 4, None),
        ("1/5.left.png", 5, 7),
        ("1/5.right.png", 6, 7),
        ("1/7", 7, None),
    ]
    assert (items.length, items.described, items.again) == (None, str(tmp_path / name), True)
    assert [again(item) for item in items] == [1, 2, 3, 4, 5, 6, 7]
    assert [item.path for item in items][:1] == [f"{tmp_path / name}!a/1.png"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_form_are_read(tmp_path: Path, form: int) -> None:
    names = [*HARD_NAMES, "d/" * 60 + "deep.png", "y" * 90 + "/" + "z" * 90 + ".png"]
    if form == tarfile.USTAR_FORMAT:
        names = [name for name in names if len(name.encode()) <= 100]
    with tarfile.open(tmp_path / "1.tar", "w", format=form, encoding="utf-8") as file:
        for i, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(png(i))
            file.addfile(info, io.BytesIO(png(i)))
    items = list(items_of(tmp_path / "1.tar"))
    assert [grey(item) for item in items] == list(range(len(names)))
    assert [again(item) for item in items] == list(range(len(names)))
    assert items[0].key == f"1/{names[0].partition('.')[0]}"


def test_several_tars_by_braces_and_stars(tmp_path: Path) -> None:
    for i in range(11):
        tar(tmp_path / f"shard-{i:03}.tar", {"a.png": png(i), "b.png": png(100 + i)})
    items = items_of(str(tmp_path / "shard-{008..010}.tar"))
    expected = [(f"shard-{i:03}/{name}", first + i, None) for i in (8, 9, 10) for name, first in (("a", 0), ("b", 100))]
    assert found(items) == expected
    assert found(items_of(str(tmp_path / "shard-{008,009,010}.tar"))) == expected
    assert len(found(items_of(str(tmp_path / "shard-*.tar")))) == 22
    # Of two folders the shards may have one name.
    tar(photo(tmp_path / "other" / "x.png").parent / "shard-008.tar", {"a.png": png(50)})
    two = items_of([tmp_path / "shard-008.tar", tmp_path / "other" / "shard-008.tar"])
    assert [item.key for item in two] == ["shard-008/a", "shard-008/b", "shard-008/a#2"]
    assert [again(item) for item in two] == [8, 108, 50]


def test_two_members_of_one_name_are_two_photos(tmp_path: Path) -> None:
    path = tar(tmp_path / "1.tar", [("a.png", png(1)), ("b.png", png(2)), ("a.png", png(3)), ("a.png#2", png(4))])
    items = list(items_of(path))
    assert [(item.key, grey(item), again(item)) for item in items] == [("1/a", 1, 1), ("1/b", 2, 2), ("1/a#2", 3, 3)]


def test_nothing_outside_of_the_tar_is_read(tmp_path: Path) -> None:
    secret = photo(tmp_path / "secret.png", 99)
    with tarfile.open(tmp_path / "1.tar", "w") as file:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            file.addfile(info)
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for i, name in enumerate((str(secret), "../secret.png", "/etc/a.png")):
            info = tarfile.TarInfo(name)
            info.size = len(png(i))
            file.addfile(info, io.BytesIO(png(i)))
    items = list(items_of(tmp_path / "1.tar"))
    kinds = ["a link", "a link", "no regular file", "no regular file"]
    for item, kind in zip(items[:4], kinds, strict=True):
        assert f"is {kind}, and only files in a tar are read" in error_of(item)
    assert [(grey(item), again(item)) for item in items[4:]] == [(0, 0), (1, 1), (2, 2)]
    assert all(item.path is not None and ".tar!" in item.path for item in items[4:])


def test_huge_members_are_told_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.MEMBER_BYTES, "value", 1000)
    for name, mode in MODES.items():
        path = tar(tmp_path / name, {"a.png": bytes(1001), "b.png": png(2)}, mode)
        large, small = items_of(path)
        assert "too large: 1,001 bytes, over the limit of 1,000 bytes" in error_of(large)
        assert grey(small) == 2


def test_a_tar_that_unpacks_to_far_more_than_it_is_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.UNPACKED_BYTES, "value", 1_000_000)
    members = [("a.png", png(1)), *((f"{i}.bin", bytes(500_000)) for i in range(4)), ("b.png", png(2))]
    first, last = items_of(tar(tmp_path / "1.tgz", members, "w:gz"))
    assert grey(first) == 1
    assert "claims to hold" in error_of(last)
    assert "over the limit of 1,000,000 bytes" in error_of(last)


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many headers are read from now on."""
    read, places = tars.Tar._header, []

    def noted(self: tars.Tar, block: bytes, place: int) -> tarfile.TarInfo:
        places.append(place)
        return read(self, block, place)

    monkeypatch.setattr(tars.Tar, "_header", noted)
    return lambda: len(places)


def header(name: str = "a.png", size: int = 0, **fields: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


GOOD = header(size=len(png(1))) + padded(png(1))
END = bytes(1024)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD + b"x" * 512 + END, "is damaged at byte 1,024"),
        (GOOD + b"x" * 100, "is damaged at byte 1,024"),
        (GOOD + header("b.png", 10_000) + bytes(512), "is cut off: what begins at byte 1,024 would end at"),
        (GOOD + header("b.png", 1 << 60) + END, "is cut off"),
        (GOOD + header("b.png", type=b"x", size=1 << 20) + bytes(2 << 20), "has a header of 1,048,576 bytes"),
        (GOOD + header("b.png", type=b"L", size=1 << 20) + bytes(2 << 20), "has a header of 1,048,576 bytes"),
        (GOOD + header("b.png", type=b"x", size=9) + padded(b"0 path=a\n") + END, "a header counts backwards"),
        (GOOD + header("b.png", type=b"x", size=9) + padded(b"-5 path=a") + END, "a header counts backwards"),
        (GOOD + header("b.png", type=b"x", size=9) + padded(b"no number") + END, "is damaged"),
        (GOOD + header("b.png", type=b"x", size=12) + padded(b"12 size=-5x\n") + GOOD + END, "is damaged"),
        (GOOD + header("b.png", type=tarfile.GNUTYPE_SPARSE) + END, "or a sparse file"),
    ],
    ids=range(11),
)
def test_what_lies_before_damage_is_given_and_the_damage_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "1.tar").write_bytes(content)
    tar(tmp_path / "2.tar", {"c.png": png(3)})
    first, last, other = items_of(str(tmp_path / "*.tar"))
    assert (first.key, grey(first), again(first)) == ("1/a", 1, 1)
    assert last.key == "1: where it ends"
    assert words in error_of(last)
    assert (other.key, grey(other)) == ("2/c", 3)  # the other tars go on


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "without pictures"),
        (END, "without pictures"),
        (b"PK" * 600, "Is it a tar?"),
        (b"\x1f\x8b", "Is it a tar?"),
    ],
)
def test_what_is_no_tar_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "1.tar").write_bytes(content)
    (item,) = items_of(tmp_path / "1.tar")
    assert words in error_of(item)


@pytest.mark.parametrize("cut", [10, 40, -3000])
def test_a_compressed_tar_that_is_cut_off_is_told(tmp_path: Path, cut: int) -> None:
    members = [(f"{i}.png", png(i) + random.Random(i).randbytes(2000)) for i in range(5)]
    path = tar(tmp_path / "1.tgz", members, "w:gz")
    path.write_bytes(path.read_bytes()[:cut])
    *whole, last = items_of(path)
    assert [grey(item) for item in whole] == list(range(len(whole)))
    assert "is damaged or cut off" in error_of(last)


def test_random_damage_ends_in_words_or_photos(tmp_path: Path) -> None:
    content = tar(tmp_path / "whole.tar", {f"{i}.png": png(i) for i in range(4)}).read_bytes()
    drawn = random.Random(5)
    for _ in range(150):
        damaged = bytearray(content[: drawn.choice([len(content), drawn.randrange(len(content))])])
        for _ in range(drawn.randrange(6)):
            if damaged:
                damaged[drawn.randrange(len(damaged))] = drawn.randrange(256)
        (tmp_path / "1.tar").write_bytes(damaged)
        for item in items_of(tmp_path / "1.tar"):
            item.key.encode()
            with suppress(GradsightError):  # and nothing else
                grey(item)


def test_no_bytes_follow_a_link_whatever_it_claims(tmp_path: Path) -> None:
    link = header("b.png", 5000, type=tarfile.SYMTYPE, linkname="/etc/passwd")
    (tmp_path / "1.tar").write_bytes(link + GOOD + END)
    _, whole = items_of(tmp_path / "1.tar")
    assert (whole.key, grey(whole)) == ("1/a", 1)


def test_wide_sizes_are_taken(tmp_path: Path) -> None:
    # As where the first header has no room for the size, which stands in the one before it.
    record = f"{len(f'15 size={len(png(6))}') + 1} size={len(png(6))}\n".encode()
    content = header(type=b"x", size=len(record)) + padded(record) + header("b.png", 0) + padded(png(6)) + GOOD + END
    (tmp_path / "1.tar").write_bytes(content)
    assert found(items_of(tmp_path / "1.tar")) == [("1/b", 6, None), ("1/a", 1, None)]


def test_tars_are_read_in_bounded_memory(tmp_path: Path) -> None:
    content = png(1) + bytes(200_000)
    for name, mode in MODES.items():
        tar(tmp_path / name, [(f"{i}.png", content + random.Random(i).randbytes(20_000)) for i in range(60)], mode)
        tracemalloc.start()
        count = sum(grey(item) == 1 for item in items_of(tmp_path / name))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 60
        assert peak < 8 * len(content), f"{name}: {peak:,}"


def test_a_sample_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradsight.runs.sources.shards._MOST", 3)
    path = tar(tmp_path / "1.tar", {f"a.{i}.png": png(i) for i in range(8)})
    assert [grey(item) for item in items_of(path)] == list(range(8))
    count = counted(monkeypatch)
    next(iter(items_of(path)))
    assert count() == 4  # and not all of the tar


def test_a_tar_that_was_replaced_is_told(tmp_path: Path) -> None:
    path = tar(tmp_path / "1.tar", {"a.png": png(1), "b.png": png(2)})
    first, second = items_of(path)
    assert again(first) == 1
    tar(path, {"b.png": png(7)})
    os.utime(path, ns=(1, 1))
    with pytest.raises(ImageError, match=r"has no picture 'a\.png' any more"):
        again(first)
    assert again(second) == 7
    path.unlink()
    with pytest.raises(ImageError, match="There is no tar"):
        again(second)
    assert "There is no file" in error_of(second)


def test_headers_are_gone_through_once_for_many_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(items_of(tar(tmp_path / "1.tar", {f"{i}.png": png(i) for i in range(20)})))
    count = counted(monkeypatch)
    assert [again(item) for item in items] == list(range(20))
    assert count() == 20


def test_places_beyond_what_is_remembered_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradsight.runs.reopening._MOST", 2)
    items = list(items_of(tar(tmp_path / "1.tar", {f"{i}.png": png(i) for i in range(5)})))
    assert [again(item) for item in items] == list(range(5))
