"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import gradsight as gs
from conftest import ROOT

pytestmark = pytest.mark.pytorch

SOURCE = ROOT / "src"

WITHOUT = {"GradsightError", "Explainer", "Explanation", "Model", "Placement", "Preprocess", "Writing"}
WITHOUT |= {"ask", "caption", "explain", "load_model"}
"""Of an error there is nothing to show; the others have yet to get an example."""


def modules() -> list[str]:
    """The modules with examples; the others are not imported, since some need a framework that is not here."""
    paths = sorted((SOURCE / "gradsight").rglob("*.py"))
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths if ">>> " in path.read_text()]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.REPORT_NDIFF, extraglobs={"__name__": "examples"})
    assert tried
    assert not failed


@pytest.mark.parametrize("name", [name for name in gs.__all__ if name not in WITHOUT])
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(gs, name)) or "")
