"""Which photos are meant by paths, and how their files begin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradsight.photos import bundled_photo, find_photos, is_photo


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("p/a.jpg", "p/a.png", "p/x/a.jpg", "p/x/y/b.jpg", "p/.h/c.jpg", "p/x/.d.jpg", "p/t.txt", "q/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def stems(*paths: str, **options) -> list[str]:
    photos, errors = find_photos(paths, **options)
    assert not errors
    assert len({photo.stem for photo in photos}) == len(photos)
    return [photo.stem for photo in photos]


def test_a_folder_of_folders_is_searched_in_depth_and_stems_follow_its_tree(tree):
    assert stems("p") == ["a", "a-2", "x/a", "x/y/b"]
    assert [photo.name for photo in find_photos(["p"])[0]] == ["p/a.jpg", "p/a.png", "p/x/a.jpg", "p/x/y/b.jpg"]
    assert stems("p", recursive=False) == ["a", "a-2"]


def test_several_folders_keep_their_own_names(tree):
    assert stems("p/x", "q") == ["x/a", "x/y/b", "q/a"]
    assert stems("p/x/y", "q/a.jpg") == ["b", "a"]


def test_links_that_loop_are_left_out_and_a_folder_is_seen_once(tree):
    os.symlink("..", "p/x/up")
    os.symlink("x", "p/another")  # comes before x by name; x keeps its own path
    os.symlink("../q", "p/far")
    assert stems("p") == ["a", "a-2", "far/a", "x/a", "x/y/b"]


def test_the_folder_of_results_is_left_out_unless_it_is_what_is_asked_for(tree):
    assert stems("p", leave_out=["p/x"]) == ["a", "a-2"]
    assert stems("p/x", leave_out=["p/x"]) == ["a", "y/b"]


def test_what_is_not_there_is_an_error_beside_the_others(tree):
    Path("empty").mkdir()
    photos, errors = find_photos(["gone.jpg", "q/a.jpg", "empty", "n" * 300 + ".png"])
    assert [photo.stem for photo in photos] == ["a"]
    for error, words in zip(errors, ("gone.jpg", "without pictures", "too long"), strict=True):
        assert words in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every folder")
def test_a_folder_that_cannot_be_opened_costs_itself_alone(tree):
    Path("p/x").chmod(0)
    photos, (error,) = find_photos(["p"])
    Path("p/x").chmod(0o755)
    assert [photo.stem for photo in photos] == ["a", "a-2"]
    assert "'p/x' cannot be opened" in str(error)


def test_a_photo_is_told_from_a_text(tree):
    assert is_photo("p")
    assert is_photo("gone.PNG")
    assert not is_photo("a cat")
    assert bundled_photo().source[:3] == b"\xff\xd8\xff"
