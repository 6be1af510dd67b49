"""The notebook of the docs runs, offline, and every value in it shows itself in few bytes."""

from __future__ import annotations

import base64
import re
import shutil

import pytest

from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
jupyter_core = pytest.importorskip("jupyter_core.utils")
pytest.importorskip("anywidget")

pytestmark = pytest.mark.pytorch

PAGE = ROOT / "docs" / "notebook.ipynb"


@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_the_notebook_runs_and_its_values_show_themselves(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(PAGE, 4)
    assert not any(cell.get("outputs") for cell in book.cells), "outputs are made here: strip them"
    client = nbclient.NotebookClient(
        book, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    try:
        client.execute()
    finally:
        # The event loop that nbclient ran in, which it leaves open.
        jupyter_core.ensure_event_loop().close()
    shown = [output["data"] for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert len(pages) == 5
    pictures = [picture for page in pages for picture in re.findall(r'<img alt="[^"]+"[^>]*base64,([^"]+)"', page)]
    assert len(pictures) == 7
    assert sum(page.count("<img") for page in pages) == 7, "one without words for who cannot see it"
    assert max(map(len, pictures)) < 100_000
    assert all(base64.b64decode(picture).startswith(b"\xff\xd8\xff") for picture in pictures)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert not any("script" in page or "http" in page for page in pages)


def test_the_blocks_of_the_page_on_notebooks_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    shutil.copy(ROOT / "docs" / "cat_and_coffee.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    exec(compile(block, "docs/notebook.md", "exec"), {})
    assert (tmp_path / "why.npz").is_file()
