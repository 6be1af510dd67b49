"""The house stays as it was built: small files and functions, types that say something, names alone in packages."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from measure_house import SOURCE, House, measure


@pytest.fixture(scope="module")
def house() -> House:
    return measure(SOURCE)


def test_files_and_functions_stay_small(house: House) -> None:
    assert not house.long_files
    assert not house.many_parameters
    assert not house.nested, "a conditional expression in another: write an if, or a function"
    assert max(house.bodies) <= 45


def test_a_package_holds_names_alone(house: House) -> None:
    assert house.logic_in_init == 0


def test_types_say_what_comes_back(house: House) -> None:
    assert not house.any_returns
    assert house.share(house.any_annotations, house.annotations) < 8


def test_comments_say_why(house: House) -> None:
    assert house.share(house.comments, house.code) > 5


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("x = 1 if a else 2 if b else 3\n", lambda house: house.nested == ["one.py:1"]),
        ("def f(a, b, c, d, e, f, g, h, i): ...\n", lambda house: house.many_parameters == ["one.py:1 f (9)"]),
        ("def f(a: Any) -> Any: ...\n", lambda house: (house.any_annotations, len(house.any_returns)) == (2, 1)),
        ("# why\nx = 1  # noqa: E501\ny = 2\n", lambda house: (house.comments, house.code) == (1, 2)),
        (
            '"""One.\n\n>>> 1\n1\n"""\nx = 1\n',
            lambda house: (house.docstrings, house.examples, house.code) == (5, 1, 1),
        ),
        ("x = 1\n" * 301, lambda house: house.long_files == ["one.py (301)"]),
    ],
)
def test_what_is_counted(tmp_path: Path, text: str, counted) -> None:
    (tmp_path / "one.py").write_text(text)
    assert counted(measure(tmp_path))


def test_logic_in_a_package_is_counted(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("def f():\n    return 1\n")
    assert measure(tmp_path).logic_in_init == 2


@pytest.mark.parametrize("package", sorted(SOURCE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_no_module_hides_a_name_of_its_package(package: Path) -> None:
    # Python sets a module as an attribute of its package when it is first imported, over whatever has that name there.
    nodes = [node for node in ast.walk(ast.parse(package.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = {path.stem for path in package.parent.glob("*.py")}
    for node in nodes:
        home = (node.module or "").rpartition(".")[2]
        hidden = {alias.asname or alias.name for alias in node.names} & modules - {home}
        assert not hidden, f"{hidden} from {node.module}"
