"""How the code stands, in figures: ``python scripts/measure_house.py [FOLDER ...]``; `tests/test_house.py` holds some.

Tests left out, the same can be asked of any project's sources, and put beside each other.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

SOURCE = Path(__file__).resolve().parent.parent / "src/gradsight"
MOST_PARAMETERS, MOST_LINES = 8, 300


@dataclass
class House:
    """What was counted in all files of a folder."""

    files: dict[Path, int] = field(default_factory=dict)  # lines of each
    code: int = 0
    docstrings: int = 0
    comments: int = 0
    bodies: list[int] = field(default_factory=list)
    annotations: int = 0
    any_annotations: int = 0
    returns: int = 0
    any_returns: list[str] = field(default_factory=list)
    conditionals: int = 0
    nested: list[str] = field(default_factory=list)
    logic_in_init: int = 0
    many_parameters: list[str] = field(default_factory=list)
    examples: int = 0

    @property
    def long_files(self) -> list[str]:
        """Files of more lines than a file should have."""
        return [f"{path} ({lines})" for path, lines in self.files.items() if lines > MOST_LINES]

    def share(self, part: int, whole: int) -> float:
        """In per cent."""
        return 100 * part / max(whole, 1)


def measure(folder: Path) -> House:
    """Count what is in the Python files of a folder."""
    house = House()
    for path in sorted(folder.rglob("*.py")):
        if not any(part in ("tests", "test", "_tests") for part in path.relative_to(folder).parts):
            _measure_file(house, path, path.relative_to(folder))
    return house


def _measure_file(house: House, path: Path, name: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    house.files[name] = text.count("\n")
    strings = {line for node in ast.walk(tree) for line in _docstring_lines(node)}
    code, comments = _lines(text)
    house.code += len(code - strings)
    house.docstrings += len(strings)
    house.comments += comments
    if path.name == "__init__.py":
        house.logic_in_init += sum(_length(node) for node in tree.body if isinstance(node, _DEFINITIONS))
    for node in ast.walk(tree):
        for kind, count in _COUNTERS.items():
            if isinstance(node, kind):
                count(house, node, name)


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _lines(text: str) -> tuple[set[int], int]:
    """The lines that hold code, and how many comments there are; what tools read is no comment."""
    code: set[int] = set()
    comments = 0
    silent = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments += not token.string.startswith(("# noqa", "# type:", "# fmt:", "#!"))
        elif token.type not in silent:
            code |= set(range(token.start[0], token.end[0] + 1))
    return code, comments


def _docstring_lines(node: ast.AST) -> Iterator[int]:
    """The lines of texts that stand alone, which document what is before them or around them."""
    for statement in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            yield from range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _is_any(annotation: ast.expr) -> bool:
    return ast.unparse(annotation) in ("Any", "typing.Any")


def _count_function(house: House, node: Function, name: Path) -> None:
    takes = node.args
    every = [*takes.posonlyargs, *takes.args, *takes.kwonlyargs, takes.vararg, takes.kwarg]
    annotations = [argument.annotation for argument in every if argument and argument.annotation]
    house.annotations += len(annotations)
    house.any_annotations += sum(map(_is_any, annotations))
    place = f"{name}:{node.lineno} {node.name}"
    own = [a for a in every if a and a.arg not in ("self", "cls")]
    if len(own) > MOST_PARAMETERS and "cli" not in name.parts:
        house.many_parameters.append(f"{place} ({len(own)})")
    body = [statement for statement in node.body if not (isinstance(statement, ast.Expr) and node.body[0] is statement)]
    house.bodies.append(sum(map(_length, body)) if body else 0)
    if node.returns is not None:
        house.annotations += 1
        house.any_annotations += _is_any(node.returns)
    if not node.name.startswith("_"):
        house.returns += 1
        if node.returns is not None and _is_any(node.returns):
            house.any_returns.append(place)


def _count_variable(house: House, node: ast.AnnAssign, name: Path) -> None:
    del name
    house.annotations += 1
    house.any_annotations += _is_any(node.annotation)


def _count_conditional(house: House, node: ast.IfExp, name: Path) -> None:
    house.conditionals += 1
    inner = (part for branch in (node.test, node.body, node.orelse) for part in ast.walk(branch))
    if any(isinstance(part, ast.IfExp) for part in inner):
        house.nested.append(f"{name}:{node.lineno}")


def _count_text(house: House, node: ast.Constant, name: Path) -> None:
    del name
    house.examples += isinstance(node.value, str) and ">>> " in node.value


_COUNTERS: dict[type[ast.AST], Callable[..., None]] = {
    ast.FunctionDef: _count_function,
    ast.AsyncFunctionDef: _count_function,
    ast.AnnAssign: _count_variable,
    ast.IfExp: _count_conditional,
    ast.Constant: _count_text,
}


def table(house: House) -> Iterator[tuple[str, str]]:
    """The figures, each with what it counts."""
    lines, bodies = sorted(house.files.values()), sorted(house.bodies)
    yield "code lines", f"{house.code:,}"
    yield "file median / p90 / max", f"{median(lines):.0f} / {lines[len(lines) * 9 // 10]} / {lines[-1]}"
    yield "function body median / p90 / max", f"{median(bodies):.0f} / {bodies[len(bodies) * 9 // 10]} / {bodies[-1]}"
    for what, count in (("docstring lines", house.docstrings), ("comments", house.comments)):
        yield f"{what} per 100 code lines", f"{house.share(count, house.code):.1f}"
    yield "annotations that are bare Any", f"{house.share(house.any_annotations, house.annotations):.1f} %"
    yield "public returns that are Any", f"{house.share(len(house.any_returns), house.returns):.1f} %"
    yield (
        "conditional expressions per 100 lines (nested)",
        f"{house.share(house.conditionals, house.code):.1f} ({len(house.nested)})",
    )
    yield "lines of functions and classes inside __init__.py", str(house.logic_in_init)
    yield f"functions of more than {MOST_PARAMETERS} parameters", str(len(house.many_parameters))
    yield f"files over {MOST_LINES} lines", str(len(house.long_files))
    yield "docstrings with a runnable example", str(house.examples)


def main() -> None:
    """Print the table of each folder, and where things are that should not be."""
    for folder in [Path(text) for text in sys.argv[1:]] or [SOURCE]:
        house = measure(folder)
        print(folder)
        for what, figure in table(house):
            print(f"  {what:<52}{figure}")
        for where in (*house.many_parameters, *house.long_files, *house.nested, *house.any_returns):
            print("   ", where)


if __name__ == "__main__":
    main()
