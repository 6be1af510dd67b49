"""What is written about the methods is what the registry knows."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from conftest import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_methods_page", ROOT / "scripts/make_methods_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_methods_is_up_to_date(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run scripts/make_methods_page.py"


def test_the_readme_lists_every_method(script: ModuleType) -> None:
    text = script.README.read_text(encoding="utf-8")
    assert script.START in text
    assert text == script.readme(text), "run scripts/make_methods_page.py"
