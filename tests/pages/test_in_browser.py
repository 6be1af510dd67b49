"""The page in a browser: used by mouse, by keys and on a phone; what axe-core says of it, and what it asks for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("gradio")

import browsers
import pages_of
from gradsight.photos import bundled_photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.pytorch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LEFT_OUT: tuple[str, ...] = ()
"""Rules of axe-core that Gradio itself breaks, and that nothing of ours can mend."""

PATIENCE = 120_000


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    """What Gradio and its client leave open is let go of here, where its warnings are expected."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pages_of.demo_page(tmp_path_factory.mktemp("page"), upload=2_000_000) as page:
        yield page


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "cat_and_coffee.jpg"
    content = bundled_photo().source
    assert isinstance(content, bytes)
    path.write_bytes(content)
    return path


def visit(chromium: Browser, address: str, size: tuple[int, int] = browsers.DESKTOP) -> Any:
    return browsers.visited(chromium, address, size)


def send(page: Page, path: Path) -> None:
    """Choose a photo, as the dialogue of files does."""
    page.wait_for_selector("#photo input[type=file]", state="attached", timeout=PATIENCE)
    page.set_input_files("#photo input[type=file]", str(path))


def answered(page: Page, figures: int = 3) -> list[str]:
    """Wait for so many maps; their titles."""
    page.wait_for_function("n => document.querySelectorAll('#maps figure').length === n", arg=figures, timeout=PATIENCE)
    return page.locator("#maps figcaption strong").all_inner_texts()


def choose(page: Page, where: str, typed: str, whole: str) -> None:
    """Choose one of a list by typing a part of it."""
    page.locator(f"{where} input").first.click()
    # Over what is chosen already, which would else be a part of what is looked for.
    page.keyboard.press("Control+a")
    page.keyboard.type(typed)
    page.get_by_role("option", name=whole, exact=True).first.wait_for(timeout=PATIENCE)
    page.get_by_role("option", name=whole, exact=True).first.click()


def source(page: Page) -> str:
    return str(page.locator("#maps img").first.get_attribute("src"))


def changed(page: Page, before: str) -> None:
    page.wait_for_function(
        "before => { const one = document.querySelector('#maps img'); return one && one.src !== before; }",
        arg=before,
        timeout=PATIENCE,
    )


def test_a_photo_is_answered_and_nothing_else_is_asked_for(chromium: Browser, address: str, photo: Path) -> None:
    with visit(chromium, address) as seen:
        send(seen.page, photo)
        titles = answered(seen.page)
        assert titles == ["Egyptian cat, 22%", "espresso, 20%", "cup, 14%"]
        rows = seen.page.locator("#chances tr").all_inner_texts()
        assert rows[0].startswith("Egyptian cat")
        assert "77%" in seen.page.locator("#notes").inner_text()
        alt = seen.page.locator("#maps img").first.get_attribute("alt")
        assert alt is not None
        assert "strongest at row" in alt
        assert not [url for url in seen.requests if not url.startswith(address)]
        # Gradio's own, of its translations and of how it watches an upload.
        assert not [one for one in seen.problems if "svelte-i18n" not in one and one != "Method not implemented."]


def test_classes_methods_and_looks_are_chosen(chromium: Browser, address: str, photo: Path) -> None:
    with visit(chromium, address) as seen:
        page = seen.page
        send(page, photo)
        answered(page)
        choose(page, "#classes", "retriever", "golden retriever")
        assert answered(page, 1)[0].startswith("golden retriever")
        choose(page, "#methods", "Layer", "LayerCAM")
        answered(page, 2)
        assert "LayerCAM" in page.locator("#maps figcaption").nth(1).inner_text()
        before = source(page)
        choose(page, "#colours", "viri", "viridis")
        changed(page, before)
        before = source(page)
        page.locator("#opacity input[type=number]").fill("0.9")
        page.keyboard.press("Enter")
        changed(page, before)
        assert not page.locator("#by-heat input").is_checked()
        before = source(page)
        page.locator("#threshold input[type=number]").fill("0.6")
        page.keyboard.press("Enter")
        changed(page, before)
        before = source(page)
        page.locator("#boxes input").check()
        changed(page, before)
        page.get_by_role("button", name="Take it home").click()
        lines = page.locator("#lines textarea").input_value()
        assert "viridis" in lines
        assert "threshold=0.6" in lines


def test_a_click_tells_which_classes_use_a_point_and_so_do_keys(chromium: Browser, address: str, photo: Path) -> None:
    with visit(chromium, address) as seen:
        page = seen.page
        send(page, photo)
        answered(page)
        box = page.locator("#photo img").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.64)
        page.wait_for_selector("#uses table", timeout=PATIENCE)
        assert "espresso" in page.locator("#uses [role=status]").inner_text()
        row = int(page.locator("#row input").input_value())
        assert abs(row - 480 * 0.64) < 6
        page.locator("#row input").fill("100")
        page.locator("#column input").fill("240")
        page.locator("#ask").focus()
        page.keyboard.press("Enter")
        page.wait_for_function(
            "() => document.querySelector('#uses').innerText.includes('row 100, column 240')", timeout=PATIENCE
        )
        assert "Egyptian cat" in page.locator("#uses [role=status]").inner_text()


def test_both_sides_of_a_class_and_two_models(chromium: Browser, address: str, photo: Path) -> None:
    with visit(chromium, address) as seen:
        page = seen.page
        send(page, photo)
        answered(page)
        page.get_by_role("button", name="For and against a class").click()
        choose(page, "#rather", "espr", "espresso")
        page.locator("#show-sides").click()
        page.wait_for_selector("#sides figure:nth-child(3)", timeout=PATIENCE)
        assert page.locator("#sides strong").nth(2).inner_text() == "Egyptian cat rather than espresso"
        choose(page, "#other", "letter", "letterboxed")
        answered(page, 6)
        assert "letterboxed" in page.locator("#maps figcaption").nth(5).inner_text()


def test_files_are_taken_home(chromium: Browser, address: str, photo: Path, tmp_path: Path) -> None:
    import gradsight as gs

    with visit(chromium, address) as seen:
        page = seen.page
        send(page, photo)
        answered(page)
        page.get_by_role("button", name="Take it home").click()
        page.locator("#make").click()
        page.wait_for_selector("#files a[download]", timeout=PATIENCE)
        names = {}
        for link in page.locator("#files a[download]").all():
            with page.expect_download() as found:
                link.click()
            names[found.value.suggested_filename] = tmp_path / found.value.suggested_filename
            found.value.save_as(names[found.value.suggested_filename])
        assert set(names) == {"why.png", "why.npz", "why.json", "why.py"}
        assert gs.Explanation.load(names["why.npz"]).labels == (("Egyptian cat", "espresso", "cup"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no photo at all", "The photo cannot be read"), (b"\x89PNG\r\n\x1a\n" + bytes(99), "The photo cannot be read")],
)
def test_bad_files_are_told_in_words(
    chromium: Browser, address: str, photo: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with visit(chromium, address) as seen:
        page = seen.page
        send(page, tmp_path / "bad.png")
        page.wait_for_selector("#status [role=alert]", timeout=PATIENCE)
        told = page.locator("#status").inner_text()
        assert words in told
        assert "Traceback" not in told
        assert "/" not in told.replace("JPEG/", "")
        # And the page goes on.
        page.locator("#example").click()
        answered(page)
        assert not page.locator("#status").is_visible()


def test_a_file_that_is_too_large_is_told(chromium: Browser, address: str, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(2_500_000))
    with visit(chromium, address) as seen:
        send(seen.page, tmp_path / "large.png")
        seen.page.get_by_text("maximum allowed size").first.wait_for(timeout=PATIENCE)


def test_a_run_is_browsed(chromium: Browser, address: str) -> None:
    with visit(chromium, address) as seen:
        page = seen.page
        page.get_by_role("tab", name="Run").click()
        page.wait_for_selector("#gallery .gs-card", timeout=PATIENCE)
        assert page.locator("#gallery .gs-card").count() == 3
        assert "3 of 3 photos" in page.locator("#found").inner_text()
        assert "1 could not be explained" in page.locator("#found").inner_text()
        page.locator("#gallery .gs-card").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#one img", timeout=PATIENCE)
        choose(page, "#label", "espr", "espresso")
        page.wait_for_function("() => document.querySelectorAll('#gallery .gs-card').length === 1", timeout=PATIENCE)
        page.get_by_role("button", name="A map of the photos").click()
        page.locator("#lay").click()
        page.wait_for_selector("#plane circle", timeout=PATIENCE)
        assert page.locator("#plane circle").count() == 3


def test_an_evaluation_is_looked_at(chromium: Browser, address: str) -> None:
    with visit(chromium, address) as seen:
        seen.page.get_by_role("tab", name="Evaluation").click()
        seen.page.wait_for_selector("#figures table", timeout=PATIENCE)
        assert "gradcam at layer4" in seen.page.locator("#figures tbody tr").first.inner_text()
        assert seen.page.locator("#plot img").get_attribute("alt")


@pytest.mark.parametrize("size", [browsers.DESKTOP, browsers.PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_it(chromium: Browser, address: str, size: tuple[int, int]) -> None:
    with visit(chromium, address, size) as seen:
        page = seen.page
        page.locator("#example").click(timeout=PATIENCE)
        answered(page)
        page.locator("#ask").click()
        page.wait_for_selector("#uses [role=status]", timeout=PATIENCE)
        assert seen.overflow() == 0
        assert seen.axe(*LEFT_OUT) == []
        for tab, there in (("Run", "#gallery .gs-card"), ("Evaluation", "#figures table")):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_selector(there, timeout=PATIENCE)
            assert seen.overflow() == 0
            assert seen.axe(*LEFT_OUT) == []
