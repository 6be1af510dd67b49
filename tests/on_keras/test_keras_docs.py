"""The blocks of the docs that are of Keras run, with a small random network where the text names a large one."""

from __future__ import annotations

import functools
import shlex
import shutil
from pathlib import Path

import keras
import pytest
from typer.testing import CliRunner

import gradsight as gs
from conftest import ROOT
from gradsight.cli.app import app
from pages import blocks

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what differs here is the text alone"),
    # Of Keras that saves, and of tf-keras-vis that is imported.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_six_lines_of_keras_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(keras.applications.MobileNetV2, weights=None, input_shape=(96, 96, 3), alpha=0.35)
    monkeypatch.setattr(keras.applications, "Xception", small)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs/cat_and_coffee.jpg", "photo.jpg")
    (block,) = [one for one in blocks(ROOT / page) if one.language == "python" and "import keras" in one.text]
    names: dict[str, gs.Explanation] = {}
    exec(compile(block.text, page, "exec"), names)
    assert names["explanation"].maps.shape[1] == 3
    assert (tmp_path / "why.png").is_file()


def test_the_page_to_start_with_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs/cat_and_coffee.jpg", "photo.jpg")
    Path("labels.txt").write_text("cat\ndog\ncup\n", encoding="utf-8")
    files = {"train_keras.py": "", "explain_keras.py": ""}
    lines = []
    for block in blocks(ROOT / "docs/start.md"):
        name = block.text.splitlines()[0].removeprefix("# ")
        files |= {name: block.text} if name in files else {}
        lines += [line for line in block.text.splitlines() if "model.keras" in line or "_keras.py" in line]
    ran = [words for words in map(shlex.split, lines) if words[0] in ("python", "gradsight")]
    assert [words[:2] for words in ran] == [
        ["python", "train_keras.py"],
        ["gradsight", "explain"],
        ["python", "explain_keras.py"],
    ]
    for words in ran:
        if words[0] == "python":
            exec(compile(files[words[1]], words[1], "exec"), {})
        else:
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, result.output
    assert (tmp_path / "why-keras.png").is_file()
    assert len(list((tmp_path / "maps-of-keras").iterdir())) == 3


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning")
@pytest.mark.parametrize("name", ["migrate_tf_keras_vis", "migrate_keras_io"])
def test_the_page_on_migrating_runs(name: str) -> None:
    pytest.importorskip("tf_keras_vis", exc_type=ImportError)
    page = "docs/migrating.md"
    (block,) = [one for one in blocks(ROOT / page) if one.text.startswith(f"# {name}.py\n")]
    exec(compile("\n" * block.before + block.text, page, "exec"), {})
