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

from PIL import Image, ImageOps

import browsers
import gradsight as gs
from gradsight.imaging import read_image
from gradsight.pages.serving import Shown, served
from gradsight.photos import bundled_photo

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = ROOT / "docs/page"
WIDTH = 1440
"""Of the window, in pixels: three maps stand side by side."""

PATIENCE = 120_000


def crops(folder: Path) -> Path:
    """Parts of the bundled photo in two folders, by what most of them shows."""
    photo = read_image(bundled_photo().source)
    for i in range(3):
        for j in range(4):
            left, top, side = 96 * i, 80 * j, 224
            kind = "Egyptian cat" if top < 110 else "espresso"
            (folder / kind).mkdir(parents=True, exist_ok=True)
            photo.crop((left, top, left + side, top + side)).save(folder / kind / f"{i}-{j}.png")
    return folder


def keep(page: Page, name: str, until: str) -> None:
    """The page as it is, down to the end of what a selector finds, as a small picture without its margins."""
    page.wait_for_timeout(1000)
    # In the page and not in the window, which may have been scrolled.
    ends = page.locator(until).last.evaluate("one => one.getBoundingClientRect().bottom + window.scrollY")
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as shot:
        shown = shot.convert("RGB").crop((0, 0, shot.width, min(shot.height, round(ends) + 10)))
        left, _, right, _ = ImageOps.invert(shown).getbbox() or (0, 0, shown.width, 0)
        OUT.mkdir(exist_ok=True)
        cut = shown.crop((max(0, left - 24), 0, min(shown.width, right + 24), shown.height))
        cut.save(OUT / f"{name}.webp", quality=80, method=6)


def photo(page: Page) -> None:
    page.locator("#example").click(timeout=PATIENCE)
    page.wait_for_selector("#maps figure:nth-child(3)", timeout=PATIENCE)
    keep(page, "photo", "#notes")
    box = page.locator("#photo img").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.64)
    page.wait_for_selector("#uses table", timeout=PATIENCE)
    keep(page, "point", "#uses table")


def run(page: Page) -> None:
    page.get_by_role("tab", name="Run").click()
    page.wait_for_selector("#gallery .gs-card", timeout=PATIENCE)
    page.get_by_role("button", name="A map of the photos").click()
    page.locator("#lay").click()
    page.wait_for_selector("#plane circle", timeout=PATIENCE)
    keep(page, "run", "#plane")


def evaluation(page: Page) -> None:
    page.get_by_role("tab", name="Evaluation").click()
    page.wait_for_selector("#figures table", timeout=PATIENCE)
    keep(page, "evaluation", "#plot")


def main() -> None:
    demo = gs.Explainer(gs.load_model("demo"), name="demo")
    with tempfile.TemporaryDirectory() as folder:
        photos = crops(Path(folder) / "photos")
        made = gs.run(photos, model=demo, out=Path(folder) / "run")
        some = sorted(photos.rglob("*.png"))
        methods = ["gradcam", "layercam", "gradcampp"]
        measured = gs.evaluate(demo, some, methods=methods, metrics=["averagedrop", "deletion(steps=4)"])
        with served(Shown([("demo", demo)], made, measured)) as address, browsers.chromium() as browser:
            with browsers.visited(browser, address, (WIDTH, 900)) as seen:
                for part in (photo, run, evaluation):
                    part(seen.page)
            with browsers.visited(browser, address, browsers.PHONE) as seen:
                seen.page.locator("#example").click(timeout=PATIENCE)
                seen.page.wait_for_selector("#maps figure:nth-child(3)", timeout=PATIENCE)
                keep(seen.page, "phone", "#maps figure:nth-child(2)")


if __name__ == "__main__":
    main()
