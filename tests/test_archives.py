"""Zip files are measured before they are unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gradsight import limits
from gradsight.archives import content, unpacking
from gradsight.errors import GradsightError, InvalidArgument, ModelError


def _zip(path: Path, compression: int = zipfile.ZIP_DEFLATED, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def check_archive(path: Any, what: str, kind: type[GradsightError] = InvalidArgument) -> None:
    with unpacking(path, what, kind) as archive:
        assert archive.infolist()


def test_a_bomb_is_refused_by_what_it_claims_and_the_limit_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _zip(tmp_path / "bomb.zip", a=bytes(1000), b=bytes(100_000))
    check_archive(path, "a model", ModelError)
    monkeypatch.setattr(limits.UNPACKED_BYTES, "value", 100_000)
    with pytest.raises(
        ModelError, match=r"claims to hold 101,000 bytes, over the limit of 100,000 bytes.*UNPACKED_BYTES"
    ):
        check_archive(path, "a model", ModelError)
    # What is about as large itself is no bomb, however large it is.
    check_archive(_zip(tmp_path / "large.zip", zipfile.ZIP_STORED, a=bytes(200_000)), "a model")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_python_does_not_bound_is_refused(tmp_path: Path, compression: int) -> None:
    with pytest.raises(InvalidArgument, match="packed in an unusual way"):
        check_archive(_zip(tmp_path / "odd.zip", compression, a=b"1"), "a model")


def test_no_more_is_unpacked_than_an_entry_claims(tmp_path: Path) -> None:
    path = _zip(tmp_path / "lie.zip", a=bytes(100_000))
    data = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(InvalidArgument, match=r"CRC|cut off|damaged"), unpacking(io.BytesIO(data), "a model") as found:
        content(found, "a")


def test_an_open_file_keeps_its_position_and_what_is_no_archive_says_so(tmp_path: Path) -> None:
    with _zip(tmp_path / "a.zip", a=b"1").open("rb") as file:
        file.seek(3)
        check_archive(file, "a model")
        assert file.tell() == 3
    for data in (b"", b"no zip", b"PK\x03\x04" + bytes(50)):
        with pytest.raises(ModelError, match="is not a model, or is damaged"):
            check_archive(io.BytesIO(data), "a model", ModelError)
