"""The page on runs: its blocks run, and it names every column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import ROOT
from gradsight.runs.schema import columns

pytestmark = pytest.mark.pytorch

TEXT = (ROOT / "docs/runs.md").read_text(encoding="utf-8")


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    with Image.open(ROOT / "docs/cat_and_coffee.jpg") as photo:
        for i in range(3):
            photo.convert("RGB").crop((i, i, i + 224, i + 224)).save(tmp_path / f"photos/cats/{i}.jpg")
    names: dict[str, Any] = {}
    for block in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        line = TEXT[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], "docs/runs.md", "exec"), names)
    assert capsys.readouterr().out.startswith("Run('run', 3 images, model demo)\n")
    assert names["run"].images == ("cats/0.jpg", "cats/1.jpg", "cats/2.jpg")
    assert len(names["frame"]) == len(names["table"]) == 6
    assert names["whole"].manifest.complete


def test_the_page_names_every_column_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == [*columns()]
