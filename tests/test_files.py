"""The one way to open a file, and the one to write it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gradsight import files, limits
from gradsight.errors import ImageError, InvalidArgument


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "There is no file"),
        ("folder", "is a folder, not a picture. Name a file inside it."),
        ("pipe", "is a pipe, and only files are read"),
        ("secret", "Permission denied"),
        ("x" * 300, "File name too long"),
        ("nul\0", "null"),
        ("none/below", "There is no file"),
        ("file/below", "Not a directory"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_error_and_never_waited_for(
    tmp_path: Path, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("text")
    if name == "secret":  # no permission holds back a superuser
        real = os.open
        denied = PermissionError(13, "Permission denied")

        def refuse(path: str, flags: int) -> int:
            if str(path).endswith("secret"):
                raise denied
            return real(path, flags)

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=words):
        files.read_bytes(tmp_path / name, "a picture", ImageError)
    assert not files.is_file(tmp_path / name) or name == "secret"


def test_a_device_has_no_end_and_is_not_read() -> None:
    with pytest.raises(InvalidArgument, match="is a device"):
        files.read_text("/dev/zero", "labels")


def test_a_limit_is_named_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\n".encode())
    monkeypatch.setattr(limits.TEXT_BYTES, "value", 6)
    with pytest.raises(InvalidArgument, match=r"7 bytes, over the limit of 6 bytes.*GRADSIGHT_MAX_TEXT_BYTES"):
        files.read_text(path, "labels")
    monkeypatch.setattr(limits.TEXT_BYTES, "value", 7)
    assert files.read_text(path, "labels") == "cat\n"


def test_the_environment_sets_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSIGHT_MAX_THINGS", "1_000")
    assert limits.Limit("THINGS", 5, "things").value == 1000
    monkeypatch.setenv("GRADSIGHT_MAX_THINGS", "many")
    assert limits.Limit("THINGS", 5, "things").value == 5


def _break_off(path: Path, error: Exception) -> None:
    with files.written(path) as file:
        file.write(b"half")
        file.flush()
        raise error


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.bin"
    files.write_bytes(path, b"old")
    path.chmod(0o640)
    with pytest.raises(ZeroDivisionError):
        _break_off(path, ZeroDivisionError())
    assert path.read_bytes() == b"old"
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["out.bin"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(InvalidArgument, match="cannot be written: No space left"):
        _break_off(path, OSError(28, "No space left on device"))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_a_link_is_written_through_and_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    files.write_bytes(tmp_path / "link", b"1")
    (tmp_path / "plain").write_bytes(b"1")
    assert (tmp_path / "target").read_bytes() == b"1"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["folder", "nul\0", "x" * 300, "file/below"])
def test_what_cannot_be_written_is_told_in_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(InvalidArgument, match="cannot be written"):
        files.write_bytes(tmp_path / name, b"1")
