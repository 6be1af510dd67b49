"""The photos of a run, from whatever holds them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradsight.errors import ImageError, InvalidArgument, InvalidType
from gradsight.imaging import read_image
from gradsight.runs.items import Items, items_of


def photo(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(path)
    return path


def keys(items: Items) -> list[str]:
    return [item.key for item in items]


def test_a_folder_gives_paths_in_it_and_its_folders_labels(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/deep/3.png", "a/1.jpg", "0.JPG", ".hidden/4.jpg", "a/notes.txt"):
        photo(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("")
    items = items_of(tmp_path)
    found = list(items)
    assert [(item.key, item.label) for item in found] == [
        ("0.JPG", None),
        ("a/1.jpg", "a"),
        ("b/2.jpg", "b"),
        ("b/deep/3.png", "b"),
    ]
    assert items.length == 4
    assert items.described == str(tmp_path)
    assert [item.path for item in found] == [str(tmp_path / item.key) for item in found]
    assert keys(items) == [item.key for item in found]  # a second time


def test_items_can_be_pickled(tmp_path: Path) -> None:
    item = next(iter(items_of([photo(tmp_path / "a.jpg", 7)])))
    copy = pickle.loads(pickle.dumps(item))
    assert (copy.key, copy.path, copy.source) == (item.key, item.path, item.source)
    assert read_image(copy.source).size == (8, 6)


def test_folders_of_results_are_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "run" / "sheet.png")
    assert keys(items_of(tmp_path, leave_out=[tmp_path / "run"])) == ["a.jpg"]


def test_what_is_no_source_is_told() -> None:
    with pytest.raises(InvalidType, match=r"`source` must be .* Received: 5 \(int\)"):
        items_of(5)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="folder without pictures"):
        items_of(tmp_path)


def test_a_generator_is_gone_through_once() -> None:
    items = items_of(name for name in ("a.jpg", "b.jpg"))
    assert items.length is None
    assert not items.again
    assert keys(items) == ["a.jpg", "b.jpg"]
    with pytest.raises(InvalidArgument, match="gone through once"):
        iter(items)
