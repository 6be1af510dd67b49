"""Lists of photos: texts, CSV and Parquet; what is broken in them is told with its line."""

from __future__ import annotations

import csv
import os
import random
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradsight import limits
from gradsight.errors import GradsightError, ImageError, InvalidArgument, MissingDependency
from gradsight.imaging import read_image
from gradsight.runs.items import Item, items_of, reopened
from runs_of import HARD_NAMES, found, grey, photo, png

LISTABLE = [name for name in HARD_NAMES if "\n" not in name]


def error_of(item: Item) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(item.source)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a list beside the photos, whose paths are relative to it."""
    for i, name in enumerate(HARD_NAMES):
        photo(tmp_path / "in" / name, i)
    return tmp_path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_lists_paths_relative_to_it(photos: Path, end: str, mark: str) -> None:
    text = mark + end.join([*(f"in/{name}" for name in LISTABLE), "", "  ", str(photos / "in/😀.png")])
    (photos / "list.txt").write_bytes(text.encode())
    items = items_of(photos / "list.txt")
    assert found(items) == [
        *((f"in/{name}", HARD_NAMES.index(name), None) for name in LISTABLE),
        (str(photos / "in/😀.png"), HARD_NAMES.index("😀.png"), None),
    ]
    assert items.length == len(LISTABLE) + 1
    assert items.described == str(photos / "list.txt")


def test_labels_of_a_text(photos: Path) -> None:
    photo(photos / "a b.png", 20)
    (photos / "c").write_bytes(png(21))
    (photos / "list.lst").write_text("a b.png\tblack cat\na b.png 17\na b.png\nc\t3\na b.png\t\n")
    expected = [("a b.png", 20, "black cat"), ("a b.png#2", 20, 17), ("a b.png#3", 20, None), ("c", 21, 3)]
    assert found(items_of(photos / "list.lst")) == [*expected, ("a b.png#4", 20, None)]


def test_null_characters_part_names_with_ends_of_lines(photos: Path) -> None:
    (photos / "list.txt").write_bytes(b"\0".join(f"in/{name}".encode() for name in HARD_NAMES) + b"\0")
    items = items_of(photos / "list.txt")
    assert found(items) == [(f"in/{name}", i, None) for i, name in enumerate(HARD_NAMES)]
    assert items.length == len(HARD_NAMES)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_lists_hold_names_that_are_no_text(tmp_path: Path, name: str) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(png(5))
    (tmp_path / name).write_bytes(b"\xff.png\n")
    (item,) = items_of(tmp_path / name)
    assert (item.key, grey(item)) == (r"\xff.png", 5)
    assert item.path is not None
    assert read_image(reopened(item.path)).size == (5, 4)


def test_broken_lines_are_told_with_their_number_and_cost_no_other(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    long = "x" * (2 << 20)
    # The null comes where it is no more looked for what parts the lines.
    (tmp_path / "list.txt").write_text("a.png\n" + " " * 70_000 + f"\n{long}\na\0.png\na.png\nmissing.png\n")
    items = items_of(tmp_path / "list.txt")
    first, too_long, null, again, missing = items
    assert items.length == 5
    assert (grey(first), grey(again), again.key) == (1, 1, "a.png#2")
    assert too_long.key == "list.txt, line 3"
    assert error_of(too_long).endswith("list.txt', line 3: it is too long for a path.")
    assert error_of(null).endswith("line 4: its path holds a null character.")
    assert "There is no file" in error_of(missing)


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.tsv"])
@pytest.mark.parametrize(("content", "words"), [(b"", "lists no photo"), (b"\n \n", "lists no photo")])
def test_empty_lists_are_told(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=words):
        items_of(tmp_path / name)


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list_in_utf_16_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path\na.png\n", encoding="utf-16")
    with pytest.raises(InvalidArgument, match="must be a text in UTF-8, and is one in UTF-16"):
        items_of(tmp_path / name)


@pytest.mark.parametrize(
    ("header", "rows", "delimiter"),
    [
        (["path", "label"], ["{0}", "{1}"], ","),
        (["id", "Class_Name", "width", "File_Name"], ["7", "{1}", "5", "{0}"], ","),
        (["image", "label"], ["{0}", "{1}"], ";"),
        (None, ["{0}", "{1}"], ","),
    ],
)
def test_a_table_lists_paths_and_labels(
    photos: Path, header: list[str] | None, rows: list[str], delimiter: str
) -> None:
    labels = ["cat", "3", "", 'black, "cat"', "two\nlines", "6", "猫"]
    with (photos / "list.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        for row in [header] if header else []:
            writer.writerow(row)
        for name, label in zip(HARD_NAMES, labels, strict=True):
            writer.writerow([cell.replace("{0}", f"in/{name}").replace("{1}", label) for cell in rows])
    items = items_of(photos / "list.csv")
    meant = ["cat", 3, None, 'black, "cat"', "two\nlines", 6, "猫"]
    assert found(items) == [(f"in/{name}", i, meant[i]) for i, name in enumerate(HARD_NAMES)]
    assert items.length == len(HARD_NAMES)


def test_broken_rows_are_told_with_their_line(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    rows = [
        "label,path",
        "cat,a.png",
        "cat",
        "",
        'cat,"a.png',
        '"',
        "dog,a.png",
        "z" * (2 << 20),
        'cat,"' + "q" * 200_000,
    ]
    (tmp_path / "list.csv").write_text("\n".join([*rows, *["more,a.png"] * 3, ""]))
    items = list(items_of(tmp_path / "list.csv"))
    assert items_of(tmp_path / "list.csv").length == len(items)
    assert (items[0].label, grey(items[0])) == ("cat", 1)
    assert error_of(items[1]).endswith("line 3: its path is missing.")
    assert "a.png\n" in str(items[2].source)  # the name goes on in the next line
    assert (items[3].label, grey(items[3])) == ("dog", 1)
    assert error_of(items[4]).endswith("line 8: it is too long.")
    assert "line 9: field larger than field limit" in error_of(items[5])
    assert [item.label for item in items[6:]] == ["more"] * 3


def test_a_table_without_a_column_of_paths_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match=r"must say in its first row which column .* Received: \['a', 'b'\]"):
        items_of(tmp_path / "list.csv")


def test_a_table_of_parquet_lists_paths(photos: Path) -> None:
    table = {"file": [f"in/{name}" for name in HARD_NAMES] + [None], "label": [*range(len(HARD_NAMES)), 0]}
    pq.write_table(pa.table(table), photos / "list.parquet")
    items = items_of(photos / "list.parquet")
    assert items.length == len(HARD_NAMES) + 1
    *rest, last = items
    assert [(item.key, grey(item), item.label) for item in rest] == [
        (f"in/{name}", i, i) for i, name in enumerate(HARD_NAMES)
    ]
    assert error_of(last).endswith(f"row {len(HARD_NAMES) + 1}: its path is missing.")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_any_kind_are_paths(tmp_path: Path, kind: pa.DataType) -> None:
    photo(tmp_path / "a.png", 4)
    pq.write_table(pa.table({"path": pa.array(["a.png"]).cast(kind)}), tmp_path / "list.parquet")
    assert found(items_of(tmp_path / "list.parquet")) == [("a.png", 4, None)]


@pytest.mark.parametrize("form", ["bytes", "objects"])
def test_pictures_in_a_table_are_found_again(tmp_path: Path, form: str) -> None:
    pictures = [png(i) for i in range(50)]
    column: object = pictures
    metadata = None
    if form == "objects":  # as tables of Hugging Face's have them
        column = [{"bytes": content, "path": f"猫 {i}.png"} for i, content in enumerate(pictures)]
        metadata = {
            "huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
        }
    table = pa.table({"image": column, "label": [i % 2 for i in range(50)]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "list.parquet", row_group_size=20)
    items = items_of(tmp_path / "list.parquet")
    name, label = ("list/{0}", 1) if form == "bytes" else ("猫 {1}.png", "dog")
    assert (found(items)[21], items.length) == ((name.format(22, 21), 21, label), 50)
    for item in items:
        assert item.path is not None
        assert reopened(item.path) == item.source
    pq.write_table(table.slice(0, 3), tmp_path / "list.parquet")
    for row in ("22", "0", "-1", "x", "1" * 5000):
        with pytest.raises(ImageError, match=r"has no picture in row .* any more"):
            reopened(f"{tmp_path}/list.parquet!{row}")


def test_a_picture_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.MEMBER_BYTES, "value", 100)
    pq.write_table(pa.table({"x": [png(1), b"0" * 101]}), tmp_path / "list.parquet")
    first, second = items_of(tmp_path / "list.parquet")
    assert grey(first) == 1
    assert "row 2: the picture is too large: 101 bytes, over the limit of 100 bytes" in error_of(second)


def test_damaged_tables_are_told(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(InvalidArgument, match="is no table of Parquet, or is damaged"):
        items_of(path)
    pq.write_table(pa.table({"number": [1]}), path)
    with pytest.raises(InvalidArgument, match="must have a column of paths or of the bytes of pictures"):
        items_of(path)
    pq.write_table(pa.table({"path": pa.array([], pa.string())}), path)
    with pytest.raises(ImageError, match="it has no rows"):
        items_of(path)


def test_damage_costs_the_rows_of_its_group(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pictures = [png(i) + bytes(1000) for i in range(60)]
    pq.write_table(pa.table({"image": pictures}), path, row_group_size=20, compression="gzip")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[start : start + 400] = bytes(400)
    path.write_bytes(content)
    items = list(items_of(path))
    assert len(items) == 60
    assert [grey(item) for item in (*items[:20], *items[40:])] == [*range(20), *range(40, 60)]
    assert "list.parquet', row 21: it is damaged" in error_of(items[20])
    assert [item.key for item in items[39:41]] == ["list.parquet, row 40", "list/41"]


def test_random_damage_of_a_table_ends_in_words_or_photos(tmp_path: Path) -> None:
    path, drawn = tmp_path / "list.parquet", random.Random(1)
    pictures = [{"bytes": png(i), "path": f"{i}.png"} for i in range(30)]
    for compression in ("snappy", "gzip", "none"):
        table = pa.table({"image": pictures, "label": list(range(30))})
        pq.write_table(table, path, row_group_size=10, compression=compression)
        content = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content[: drawn.choice([len(content), len(content), drawn.randrange(len(content))])])
            for _ in range(drawn.randrange(1, 5)):
                # Half of them in the footer, where the columns are described.
                first = drawn.choice([0, max(0, len(damaged) - 600)])
                damaged[drawn.randrange(first, len(damaged))] = drawn.randrange(256)
            path.write_bytes(damaged)
            with suppress(GradsightError):  # and nothing else
                for item in items_of(path):
                    item.key.encode()
                    with suppress(GradsightError):
                        grey(item)


def test_a_count_of_rows_that_cannot_be_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradsight.runs.sources.parquet._TOLD", 3)
    monkeypatch.setattr("gradsight.runs.sources.parquet._rows", lambda *_: 1 / 0)
    pq.write_table(pa.table({"image": [png(i) for i in range(7)]}), tmp_path / "list.parquet", row_group_size=4)
    assert [item.key for item in items_of(tmp_path / "list.parquet")] == [
        "list.parquet, rows 1 to 4",
        *(f"list.parquet, row {i}" for i in (5, 6, 7)),
    ]


def test_a_table_that_claims_too_much_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.UNPACKED_BYTES, "value", 1_000_000)
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"image": [bytes(100_000)] * 30}), path, compression="gzip", use_dictionary=False)
    with pytest.raises(GradsightError, match=r"claims to hold .* bytes, over the limit"):
        items_of(path)


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"path": ["a.png"]}), tmp_path / "list.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependency, match=r"pip install 'gradsight\[run\]'"):
        items_of(tmp_path / "list.parquet")


def test_several_lists_by_a_pattern(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 1)
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("path,label\na.png,cat\n")
    items = items_of(str(tmp_path / "*.csv"))
    assert found(items) == [("a.png", 1, "cat"), ("a.png#2", 1, "cat")]
    assert items.length == 2
