"""What is written about the methods is what the registry knows, and blocks of pages run."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import ROOT


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("make_methods_page")


def test_the_page_of_methods_is_up_to_date(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run scripts/make_methods_page.py"


def test_the_page_of_metrics_is_up_to_date(script: ModuleType) -> None:
    metrics = importlib.import_module("make_metrics_page")
    assert metrics.PAGE.read_text(encoding="utf-8") == metrics.page(), "run scripts/make_metrics_page.py"


def test_the_readme_lists_every_method(script: ModuleType) -> None:
    text = script.README.read_text(encoding="utf-8")
    assert script.START in text
    assert text == script.readme(text), "run scripts/make_methods_page.py"


def test_no_page_has_two_versions_of_a_passage() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
    assert len(pages) > 30
    left = [path.name for path in pages if re.search(r"^(<{7}|>{7}|={7}$)", path.read_text(encoding="utf-8"), re.M)]
    assert left == [], "a merge was not finished"


# The blocks of pages that are one session from top to bottom.


@pytest.mark.pytorch
def test_the_blocks_of_the_page_on_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) > 5
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs/cat_and_coffee.jpg", tmp_path / "photo.jpg")
    names: dict[str, Any] = {}
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        if "matplotlib" in block[1] and importlib.util.find_spec("matplotlib") is None:
            continue
        exec(compile("\n" * line + block[1], "docs/python.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} >= {"hot.png", "heat.png", "why.npz", "why.png"}
    explanation = names["explanation"]
    assert (explanation.maps.shape, explanation.heatmaps().shape) == ((1, 2, 7, 7), (1, 2, 224, 224))
    assert all(str(said) in text.replace('"', "'") for said in (explanation.layers, explanation.labels))
    assert names["plain"] == names["again"].record(0).to_dict()
    assert all(f"`{word}`" in text for word in ("alpha", "opacity", "cmap", "colormap"))


def test_methods_that_pages_name_are_there() -> None:
    from gradsight.variants import as_method

    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    # A method that a page makes, and an option of captum's.
    others = {"positivecam", "smooth(positivecam)", "riemann_middle"}
    names = set(re.findall(r'method="([^"]+)"', pages)) - others
    assert len(names) > 12
    for name in names:
        assert as_method(name)


@pytest.mark.pytorch
def test_the_blocks_of_the_page_on_evaluation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from PIL import Image

    text = (ROOT / "docs/evaluate.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "docs/cat_and_coffee.jpg") as photo:
        # Parts of one photo, all different.
        photos = [photo.convert("RGB").crop((i, i, i + 224, i + 224)) for i in range(16)]
    names: dict[str, Any] = {"photos": photos}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], "docs/evaluate.md", "exec"), names)
    assert len(names["evaluation"].images) == 16
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} >= {"results.json", "results.png"}
    assert names["best"].plain.layer == "_swish"
    assert "p < 0.05" in text
    capsys.readouterr()


@pytest.mark.pytorch
def test_the_commands_of_the_page_on_runs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    from PIL import Image
    from typer.testing import CliRunner

    from gradsight.cli.app import app

    # Its Python is run by tests/runs/test_page.py.
    text = (ROOT / "docs/runs.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with Image.open(ROOT / "docs/cat_and_coffee.jpg") as photo:
        for i in range(3):
            photo.convert("RGB").crop((40 * i, 0, 40 * i + 224, 224)).save(tmp_path / f"photos/{i}.png")
    commands = [shlex.split(one) for one in re.findall(r"^gradsight (.+?)(?: +#.*)?$", text, re.MULTILINE)]
    assert [command[0] for command in commands] == ["run", "show", "show"]
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0 or "no row fits" in result.stderr, (command, result.stderr)
