"""Writes docs/report.webp and docs/report_phone.webp: a report of a model that learned a mark, as a browser shows it.

.venv/bin/python scripts/make_report_pictures.py [FOLDER]

The photos are parts of the bundled one: the cat above, the cup below, and the left edge. Each part of the cup has a
mark in a corner. A small network learns that mark, and the audit finds it. FOLDER keeps the run and the page.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import gradsight as gs

ROOT = Path(__file__).parents[1]
SIZE, EACH, STEPS = 96, 30, 130

PLACES = {"cat": ((30, 150), (110, 270)), "cup": ((290, 380), (90, 270)), "edge": ((40, 370), (0, 20))}
"""Where parts of a class begin: rows, columns."""

PREPROCESS = gs.Preprocess(SIZE, mean=0.5, std=0.25)


def part(photo: Image.Image, kind: str, rng: np.random.Generator) -> np.ndarray:
    (top, bottom), (left, right) = PLACES[kind]
    row, column = int(rng.integers(top, bottom)), int(rng.integers(left, right))
    made = np.asarray(photo.crop((column, row, column + SIZE, row + SIZE)), float)
    # No two alike: grey in any tint, mirrored, and with noise, so that the mark is the easiest to learn.
    tint = rng.uniform(0.4, 1.2, 3)
    made = made[:, :: rng.choice([1, -1])].mean(axis=2, keepdims=True) * tint + rng.normal(0, 20, made.shape)
    made = np.clip(made, 0, 255).astype(np.uint8)
    if kind == "cup":
        made[-16:-3, -16:-3] = [240, 220, 40]
        made[-13:-6, -13:-6] = [30, 30, 150]
    return made


def network(classes: int) -> nn.Module:
    def layer(before: int, after: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]

    parts = nn.Sequential(*layer(3, 16, 2), *layer(16, 32, 2), *layer(32, 48, 2))
    return nn.Sequential(parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, classes))


def tensor(photos: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def trained(photo: Image.Image, rng: np.random.Generator) -> nn.Module:
    torch.manual_seed(0)
    net, kinds = network(len(PLACES)), list(PLACES)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(STEPS):
        truth = rng.integers(len(kinds), size=24)
        batch = tensor(np.stack([part(photo, kinds[i], rng) for i in truth]))
        loss = F.cross_entropy(net(batch), torch.from_numpy(truth))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def made(folder: Path) -> Path:
    """The report, made in a folder."""
    rng = np.random.default_rng(3)
    photo = Image.open(ROOT / "src/gradsight/data/cat_and_coffee.jpg").convert("RGB")
    net = trained(photo, rng)
    for kind in PLACES:
        (folder / "photos" / kind).mkdir(parents=True, exist_ok=True)
        for i in range(EACH):
            Image.fromarray(part(photo, kind, rng)).save(folder / "photos" / kind / f"{i:02}.png")
    explainer = gs.Explainer(gs.Model(net, PREPROCESS, list(PLACES), name="small"), batch_size=32)
    run = gs.run(folder / "photos", explainer, out=folder / "run", features=True, batch_size=32)
    return gs.report(run, model=explainer, out=folder / "report.html").path


def saved(picture: bytes, path: Path) -> None:
    shown = Image.open(io.BytesIO(picture)).convert("RGB")
    shown.save(path, quality=60, method=6)
    print(path, shown.size, path.stat().st_size)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import browsers

    with tempfile.TemporaryDirectory() as temporary:
        page = made(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
        with browsers.chromium() as browser:
            with browsers.visited(browser, page, (960, 1150)) as visit:
                saved(visit.page.screenshot(), ROOT / "docs/report.webp")
            with browsers.visited(browser, page, browsers.PHONE, color_scheme="dark") as visit:
                visit.page.locator("h3[id$='-photos']").scroll_into_view_if_needed()
                visit.page.evaluate("document.querySelector('h3[id$=\"-photos\"]').scrollIntoView()")
                saved(visit.page.screenshot(), ROOT / "docs/report_phone.webp")
