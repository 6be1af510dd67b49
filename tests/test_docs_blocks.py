"""The blocks of the docs and the README run, with small random models where the text names one that is downloaded."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import gradsight as gs
from conftest import ROOT
from gradsight.cli.app import app
from pages import blocks

pytestmark = pytest.mark.pytorch

PHOTO = ROOT / "src/gradsight/data/cat_and_coffee.jpg"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def commands(text: str) -> Iterator[list[str]]:
    """The lines of a shell, without their remarks."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith(("gradsight ", "python ", "srun ")):
            words = shlex.split(line.removeprefix("srun "), comments=True)
            yield words[: words.index(">")] if ">" in words else words


def play(page: str, folder: Path, names: dict[str, Any], instead: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs a page from top to bottom in a folder: Python in one session, `# NAME.py` as a file, commands as typed."""
    names["__name__"] = "examples"
    for language, text, before in blocks(ROOT / page):
        for said, used in (instead or {}).items():
            text = text.replace(said, used)
        file = re.match(r"# (\w+\.py)\n", text)
        if language == "python" and file:
            (folder / file[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile("\n" * before + text, page, "exec"), names)
        elif not language:
            for words in commands(text):
                typed(words, folder)
    return names


def typed(words: list[str], folder: Path) -> None:
    """Runs a command. What is of Keras is for a process of its own: tests/on_keras/test_keras_docs.py."""
    if words[0] == "gradsight" and "model.keras" not in words:
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, (words, result.output)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a photo, and three class names."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    (tmp_path / "labels.txt").write_text("cat\ndog\ncup\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def photos(here: Path) -> Path:
    """Parts of the photo, all different."""
    (here / "photos").mkdir()
    with Image.open(PHOTO) as photo:
        for i in range(3):
            photo.convert("RGB").crop((40 * i, 0, 40 * i + 224, 224)).save(here / f"photos/{i}.png")
    return here


# What can be said of every page.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one(page: Path) -> None:
    """Its name and its options are those of the command line; nothing of it is run."""
    group = typer.main.get_command(app)
    for block in blocks(page):
        if block.language in ("", "bash"):
            for words in commands(block.text):
                if words[0] == "gradsight":
                    command = group.commands[words[1]]
                    command.make_context(words[1], words[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_public_name_in_a_page_is_one(page: Path) -> None:
    said = set(re.findall(r"\bgs\.([A-Za-z_]+)", page.read_text(encoding="utf-8")))
    assert said <= set(gs.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Relative, so that it works on a forge and on the site."""
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("https://", "mailto:")):
            assert (page.parent / link).is_file(), link


def test_the_pages_of_the_api_have_every_public_name_once() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/api").glob("*.md")))
    assert sorted(re.findall(r"^::: gradsight\.(\w+)$", text, re.MULTILINE)) == gs.__all__
    from gradsight import callbacks

    assert sorted(re.findall(r"^::: gradsight\.callbacks\.(\w+)$", text, re.MULTILINE)) == sorted(callbacks.__all__)


def test_the_site_has_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    there = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", nav)) == there


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_the_page_on_reading_names_every_note() -> None:
    text = (ROOT / "docs/reading.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    codes = set(re.findall(r'\bNote\(\s*"(\w+)"', source))
    assert len(codes) > 15
    assert not {code for code in codes if f"`{code}`" not in text}


# Pages that are one session.


def test_the_page_to_start_with_runs(here: Path) -> None:
    play("docs/start.md", here, {})
    there = {path.name for path in here.iterdir()}
    assert {"why.png", "model.pt", "model.pt2", "gradsight-out", "maps-of-my-model", "maps-of-program"} <= there


@pytest.mark.parametrize("page", ["reading", "design"])
def test_a_page_of_sessions_runs(page: str, here: Path, capsys: Any) -> None:
    names = play(f"docs/{page}.md", here, {})
    assert names["explanation"].maps.ndim == 4
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_six_lines_of_pytorch_run(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet50_Weights, resnet50

    state = resnet50(weights=None).state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_, **__: state)
    (block,) = [one for one in blocks(ROOT / page) if one.language == "python" and "torchvision" in one.text]
    exec(compile(block.text, page, "exec"), {})
    assert (here / "why.png").is_file()


@pytest.mark.peers
def test_the_page_on_migrating_runs(here: Path, capsys: Any) -> None:
    torch.manual_seed(0)
    play("docs/migrating.md", here, {})
    assert "[1, 3, 224, 224]" in capsys.readouterr().out


# Pages that need models which are downloaded, or that are large: small ones stand for them.


class ImageAndTable(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
        self.head = nn.Linear(13, 3)

    def forward(self, image: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat((self.features(image).mean((2, 3)), table), dim=1))


class LeftAndRight(nn.Sequential):
    """Two images in a dict, through one network."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return super().forward(left) - super().forward(right)


class Detector(nn.Module):
    """Scores of 4 classes at each of many places."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, stride=8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"boxes": self.features(x).relu().flatten(2).mT}


def classifier() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()


def tiny(here: Path) -> dict[str, str]:
    """Folders with small random models of transformers, by the names that the docs call."""
    transformers = pytest.importorskip("tiny_transformers")
    names = {
        "hf:Salesforce/blip-image-captioning-base": "blip_captions",
        "hf:Salesforce/blip-vqa-base": "blip_answers",
        "hf:openai/clip-vit-base-patch32": "clip",
        "hf:dandelin/vilt-b32-finetuned-vqa": "vilt",
    }
    for name in names.values():
        model = transformers.save(name, here / name)
        if name.startswith("blip"):
            # A few words, and no end before them: the weights are random.
            model.generation_config.max_length = 8
            for key, parameter in model.named_parameters():
                if key.endswith("predictions.bias"):
                    parameter.data[:3] -= 4
            model.save_pretrained(here / name)
    return {said: str(here / name) for said, name in names.items()}


def test_the_page_on_models_runs(photos: Path) -> None:
    torch.manual_seed(0)
    (photos / "photos/broken.jpg").write_bytes(b"no photo")
    names: dict[str, Any] = {
        "my_module": classifier(),
        "captioner": classifier(),
        "preprocess": gs.Preprocess(size=64),
        "image_and_table": ImageAndTable().eval(),
        "left_and_right": LeftAndRight(*classifier()).eval(),
        "detector": Detector().eval(),
    }
    shutil.copy(PHOTO, photos / "other.jpg")
    instead = {**tiny(photos), '"timm:resnet50"': '"timm:resnet18", weights="none"'}
    play("docs/models.md", photos, names, instead)
    assert (photos / "signals.png").is_file()


@pytest.fixture
def concepts(photos: Path) -> Path:
    """Folders of concepts, with masks, and the files that the pages on channels and runs name."""
    from PIL import ImageDraw

    for number, concept in enumerate(("fur", "stripes", "colour/red", "shape/square")):
        folder = photos / "concepts" / concept
        folder.mkdir(parents=True)
        with Image.open(PHOTO) as photo:
            photo.convert("RGB").crop((40 * number, 20, 40 * number + 224, 244)).save(folder / "001.jpg")
            photo.convert("RGB").crop((40 * number, 40, 40 * number + 224, 264)).save(folder / "002.jpg")
        mask = Image.new("L", (224, 224))
        ImageDraw.Draw(mask).rectangle((20, 20, 120, 120 + 20 * number), fill=255)
        mask.save(folder / "001.mask.png")
        mask.save(folder / "002.mask.png")
    shutil.copy(PHOTO, photos / "other.jpg")
    return photos


def test_the_page_on_channels_runs(concepts: Path, capsys: Any) -> None:
    names = play("docs/neurons.md", concepts, {})
    assert names["neurons"].sentence
    assert (concepts / "channels.png").is_file()


def test_the_page_on_targets_runs(here: Path) -> None:
    pytest.importorskip("ultralytics")
    from ultralytics import YOLO

    net = YOLO("yolo11n.yaml")
    net.model.names = {**net.model.names, 5: "bus"}
    net.save("yolo11n.pt")
    shutil.copy(PHOTO, here / "street.jpg")
    (block,) = [one for one in blocks(ROOT / "docs/targets.md") if one.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(block.text, "docs/targets.md", "exec"), names)
    assert names["explanation"].maps.shape[1] == 1


def test_the_page_on_audits_runs(photos: Path, capsys: Any) -> None:
    play("docs/audit.md", photos, {}, {"--masks masks ": "", "--fail-on suspects": ""})
    assert "photos, model demo" in capsys.readouterr().out


LONG = ("app", "ask", "audit", "caption", "compare", "evaluate", "recommend", "report", "watch")
"""Of these the README's own lines are read, and the lines of their pages or other tests of them run."""


@pytest.mark.slow
def test_the_commands_of_the_readme_run(concepts: Path) -> None:
    ran = []
    for block in blocks(ROOT / "README.md"):
        for words in commands(block.text):
            if "--model" not in words and words[1] not in LONG and not block.language:
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0 or "no row fits" in result.stderr, (words, result.output)
                ran.append(words[1])
    assert {"explain", "run", "show", "neurons", "similar", "methods", "models"} <= set(ran)
