"""A headless Chromium for tests of pages, and what each page did: its requests, its errors, what axe-core says of it.

`scripts/install_chromium.sh` sets both up; `make test-browser` calls it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]

AXE = ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"

PHONE, DESKTOP = (360, 740), (1280, 900)
"""Widths and heights of windows, in pixels."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing but the page itself may ask for anything."""


@dataclass(eq=False)
class Visit:
    """A page that is open, and what it did so far.

    Attributes:
        page: Playwright's.
        requests: the addresses that it asked for, without those within the page (data:, blob:) and its own.
        problems: what it wrote on the console as an error or a warning, and exceptions that nobody caught.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def axe(self, *left_out: str) -> list[str]:
        """What axe-core finds of serious or critical impact, but for some rules: "rule: where, ..."."""
        if not AXE.is_file():
            pytest.skip("axe-core is missing: run scripts/install_chromium.sh")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: " + "; ".join(str(node["target"]) for node in one["nodes"][:3])
            for one in found
            if one["impact"] in ("serious", "critical") and one["id"] not in left_out
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window: 0 where nobody has to scroll sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium: run scripts/install_chromium.sh")
    # Only as long as it is used: meanwhile no other event loop can run in this thread.
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visited(browser: Browser, address: str | Path, size: tuple[int, int] = DESKTOP, **context: Any) -> Iterator[Visit]:
    """A page opened in a window of its own.

    Args:
        browser: as `chromium` gives it.
        address: a file, or an address.
        size: of the window, (width, height) in pixels.
        **context: as `Browser.new_context` takes it, such as ``color_scheme="dark"``, ``java_script_enabled=False``.
    """
    own = address.absolute().as_uri() if isinstance(address, Path) else address
    made = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    try:
        visit = Visit(made.new_page())
        page = visit.page
        page.on("request", lambda request: _note(visit.requests, request.url, own))
        page.on("pageerror", lambda error: visit.problems.append(str(error)))
        page.on("console", lambda said: _told(visit.problems, said))
        page.goto(own)
        yield visit
    finally:
        made.close()


def _note(requests: list[str], url: str, own: str) -> None:
    if not url.startswith(("data:", "blob:")) and url.partition("#")[0] != own.partition("#")[0]:
        requests.append(url)


def _told(problems: list[str], said: Any) -> None:
    if said.type in ("error", "warning"):
        problems.append(said.text)
