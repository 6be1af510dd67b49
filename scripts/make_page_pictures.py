"""Writes docs/page/*.webp, what the page looks like, of the bundled photo and parts of it.

.venv/bin/python scripts/make_page_pictures.py    (after scripts/install_chromium.sh)
"""

# ruff: noqa: E402 - the imports below need the path
from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from PIL import Image

import browsers
import gradsight as gs
from gradsight.imaging import read_image
from gradsight.pages.serving import Shown, served
from gradsight.photos import bundled_photo

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = ROOT / "docs/page"
WIDTH = 1180
PATIENCE = 120_000


def crops(folder: Path) -> Path:
    """Parts of the bundled photo in two folders, by what most of them shows."""
    photo = read_image(bundled_photo().source)
    for i in range(6):
        for j in range(6):
            left, top, side = 12 * i * 4, 12 * j * 4, 224
            kind = "Egyptian cat" if top < 110 else "espresso"
            (folder / kind).mkdir(parents=True, exist_ok=True)
            photo.crop((left, top, left + side, top + side)).save(folder / kind / f"{i}-{j}.png")
    return folder


def keep(page: Page, name: str, size: int = 1500) -> None:
    """The page as it is, as a small picture."""
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as shot:
        shown = shot.convert("RGB").crop((0, 0, shot.width, min(shot.height, size)))
        OUT.mkdir(exist_ok=True)
        shown.save(OUT / f"{name}.webp", quality=80, method=6)


def photo(page: Page) -> None:
    page.locator("#example").click(timeout=PATIENCE)
    page.wait_for_selector("#maps figure:nth-child(3)", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    keep(page, "photo", 1080)
    box = page.locator("#photo img").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.64)
    page.wait_for_selector("#uses table", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    keep(page, "point")


def run(page: Page) -> None:
    page.get_by_role("tab", name="Run").click()
    page.wait_for_selector("#gallery .gs-card", timeout=PATIENCE)
    page.get_by_role("button", name="A map of the photos").click()
    page.locator("#lay").click()
    page.wait_for_selector("#plane circle", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    keep(page, "run", 2400)


def evaluation(page: Page) -> None:
    page.get_by_role("tab", name="Evaluation").click()
    page.wait_for_selector("#figures table", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    keep(page, "evaluation")


def main() -> None:
    demo = gs.Explainer(gs.load_model("demo"), name="demo")
    with tempfile.TemporaryDirectory() as folder:
        photos = crops(Path(folder) / "photos")
        made = gs.run(photos, model=demo, out=Path(folder) / "run")
        some = sorted(photos.rglob("*.png"))[::5]
        methods = ["gradcam", "layercam", "gradcampp"]
        measured = gs.evaluate(demo, some, methods=methods, metrics=["averagedrop", "deletion(steps=4)"])
        with served(Shown([("demo", demo)], made, measured)) as address, browsers.chromium() as browser:
            with browsers.visited(browser, address, (WIDTH, 900)) as seen:
                for part in (photo, run, evaluation):
                    part(seen.page)
            with browsers.visited(browser, address, browsers.PHONE) as seen:
                seen.page.locator("#example").click(timeout=PATIENCE)
                seen.page.wait_for_selector("#maps figure:nth-child(3)", timeout=PATIENCE)
                seen.page.wait_for_timeout(1000)
                keep(seen.page, "phone", 1600)


if __name__ == "__main__":
    main()
