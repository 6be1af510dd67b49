"""A report in a browser: by mouse and keyboard, on a phone, on paper, in the dark, and without scripts."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import browsers
import gradsight as gs
import reported
from browsers import PHONE, Visit, visited
from gradsight.evaluating.example import example as evaluation

pytestmark = [pytest.mark.browser, pytest.mark.pytorch]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported.run(tmp_path_factory.mktemp("run"), 15, targets=2, failed=[("broken.jpg", "it is empty")])


@pytest.fixture(scope="module")
def made(run: Path) -> Path:
    # A whole report: of a run, whose findings are made up, and of an evaluation.
    found = reported.audit(15, ["cat/0.png", "dog/1.png"])
    return gs.report(run, evaluation(), out=run.parent / "report.html", audit=found).path


@pytest.fixture
def visit(chromium: Any, made: Path) -> Iterator[Visit]:
    with visited(chromium, made) as opened:
        yield opened


def shown(visit: Visit) -> int:
    return visit.page.locator(".photo:visible").count()


@pytest.mark.parametrize("size", [browsers.DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_fits_the_window_and_can_be_used_by_all(
    chromium: Any, made: Path, size: tuple[int, int], scheme: str
) -> None:
    with visited(chromium, made, size, color_scheme=scheme) as visit:
        assert visit.page.locator("details").count() >= 3
        visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert visit.overflow() <= 0
        assert visit.axe() == []
        assert visit.requests == []
        assert visit.problems == []
        levels = visit.page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        assert levels.count(1) == 1
        dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")


def test_heat_is_where_an_overlay_draws_it(visit: Visit, run: Path) -> None:
    """A picture of the screen beside `Explanation.overlay`: also where the browser enlarges the heat by itself."""
    picture = visit.page.locator("#p0-1 .picture")
    picture.scroll_into_view_if_needed()
    found = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
    explanation = gs.open_run(run)[1]
    wanted = explanation.overlay().resize(found.size, Image.Resampling.BICUBIC)  # type: ignore[union-attr]

    def off(x: int = 0, y: int = 0) -> float:
        # Without the rim, which a shift turns over to the other side.
        moved = np.roll(np.asarray(found, float), (y, x), (0, 1))
        return float(np.abs(moved - np.asarray(wanted, float))[20:-20, 20:-20].mean())

    here = off()
    assert here < 8
    # A few pixels of the screen to any side are worse: it lies neither shifted nor stretched.
    for x, y in ((6, 0), (-6, 0), (0, 6), (0, -6)):
        assert off(x, y) > 1.3 * here
    visit.page.locator("input[name=heat]").fill("0")
    bare = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
    photo = Image.open(run.parent / "photos" / "1.png").resize(found.size, Image.Resampling.BICUBIC)
    # In the part that the model saw; the rest is dark.
    middle = (slice(60, -60), slice(80, -80))
    assert np.abs(np.asarray(bare, float)[middle] - np.asarray(photo, float)[middle]).mean() < 10


def test_photos_are_filtered_and_the_number_is_told(visit: Visit) -> None:
    page, count = visit.page, visit.page.locator("#p0 .count")
    every = shown(visit)
    assert every == 15
    page.select_option("select[name=status]", "wrong")
    wrong = shown(visit)
    assert 0 < wrong < every
    assert count.inner_text() == f"{wrong} of 15 photos on this page are shown."
    assert count.get_attribute("aria-live") == "polite"
    page.fill("input[name=text]", "DOG/4")
    assert shown(visit) == 1
    page.fill("input[name=text]", "nothing of the kind")
    assert "None fits" in count.inner_text()
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelectorAll('.photo[hidden]').length === 0")
    page.select_option("select[name=truth]", label="cat")
    page.select_option("select[name=guess]", label="cat")
    assert all(own.get_attribute("data-truth") == "class 0" for own in page.locator(".photo:visible").all())


def test_a_number_of_the_table_shows_its_photos_by_keyboard_too(visit: Visit) -> None:
    page = visit.page
    cell = page.locator("button.cell[data-truth='class 1'][data-guess='class 1']")
    cell.focus()
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-pressed") == "true"
    assert page.locator("button.cell[aria-pressed=true]").count() == 1
    assert str(shown(visit)) == cell.inner_text()
    # Whoever cannot see the page is led to what is shown.
    assert page.evaluate("document.activeElement.id") == "p0-photos"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top < innerHeight")
    cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.photo[hidden]').length === 0")
    assert cell.get_attribute("aria-pressed") == "false"
    page.locator("button.show").first.click()
    assert 0 < shown(visit) < 15


def test_everything_is_reached_by_the_keyboard_and_the_focus_is_seen(visit: Visit) -> None:
    page, met = visit.page, []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "(() => { const on = document.activeElement, style = getComputedStyle(on);"
            " return [on.tagName, style.outlineStyle, on.getBoundingClientRect().width]; })()"
        )
        met.append(seen[0])
        assert seen[1] != "none", seen
        assert seen[2] > 0, seen
    assert met[0] == "A"
    assert {"BUTTON", "SUMMARY", "DIV"} <= set(met)


def test_another_map_of_a_photo_is_chosen(visit: Visit) -> None:
    page = visit.page
    first = page.locator("#p0-0")
    before = first.locator(".picture").get_attribute("aria-label")
    first.locator("select.views").select_option("1")
    assert first.locator(".view:not(.off)").count() == 1
    assert "off" in (first.locator(".view").first.get_attribute("class") or "")
    words = first.locator(".picture").get_attribute("aria-label")
    assert words != before
    assert (first.locator(".of:not(.off)").text_content() or "").startswith("Heat for dog")
    page.select_option("select[name=kind]", "target 2")
    assert page.locator(".photo .views").evaluate_all("(all) => all.every((one) => one.value === '1')")
    page.select_option("select[name=kind]", "")
    assert page.locator(".photo .views").evaluate_all("(all) => all.every((one) => one.value === one.dataset.main)")


def test_on_paper_all_panels_are_open_and_there_are_no_controls(visit: Visit) -> None:
    page = visit.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    inside = page.locator("details .mean figcaption").all()
    assert len(inside) == 3
    page.emulate_media(media="print")
    assert not page.locator("form.controls").is_visible()
    assert not page.locator("nav").is_visible()
    for one in inside:
        box = one.bounding_box()
        assert box is not None
        assert box["height"] > 0
    page.emulate_media(media="screen")
    shut = "document.querySelectorAll('details:not([open])').length"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.shut = {shut}; }})")
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert page.evaluate("window.shut") == 0
    assert page.evaluate(shut) == page.locator("details").count() >= 3, "afterwards they are as they were"


def test_it_can_be_read_without_scripts(chromium: Any, made: Path) -> None:
    with visited(chromium, made, java_script_enabled=False) as visit:
        assert visit.page.locator(".photo:visible").count() == 15
        assert not visit.page.locator("form.controls").is_visible()
        assert visit.page.get_by_text("Scripts are off").is_visible()
        assert visit.page.locator(".failed li", has_text="it is empty").is_visible()


def test_foreign_texts_do_nothing(chromium: Any, tmp_path: Path) -> None:
    texts = reported.NASTY
    run = reported.run(
        tmp_path,
        6,
        names=texts,
        keys=dict(enumerate(texts)),
        note=texts[0],
        failed=[(texts[1], texts[2])],
        name=texts[0],
    )
    made = gs.report(run, out=tmp_path / "report.html", suspects=0, title=texts[2])
    with visited(chromium, made.path, PHONE) as visit:
        # What the page itself would let in, the policy still would not.
        visit.page.locator("button.cell").first.click()
        assert visit.page.evaluate("window.hit") is None
        assert visit.requests == []
        assert visit.problems == []
        assert visit.overflow() <= 0
        assert visit.page.locator("bdi", has_text="<script>window.hit").first.is_visible()
        visit.page.evaluate(
            "(() => { const made = document.createElement('script'); made.textContent = 'window.hit = 2';"
            " document.body.append(made); })()"
        )
        assert visit.page.evaluate("window.hit") is None
        assert any("Content Security Policy" in problem for problem in visit.problems)
