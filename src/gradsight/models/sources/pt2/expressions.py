"""The expressions of sizes in an exported program: PyTorch hands them to sympy, which evaluates them as Python does.

So they are read here first, without being evaluated: numbers, symbols and the functions that PyTorch writes, and no
number among them that sympy could work at for long, as ``9**9**9**9``.
"""

from __future__ import annotations

import ast
import re

_CALLED = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Min|Max|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|ModularIndexing|"
    r"CeilToInt|FloorToInt|TruncToInt|RoundToInt|ToFloat|IntTrueDiv|FloatTrueDiv|PowByNatural|FloatPow|Where|"
    r"Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not"
)
_NAMED = re.compile(r"true|false|[su]\d{1,9}")
_ASSUMED = ("positive", "integer", "nonnegative", "real", "precision")
_NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
_POWERS = ("Pow", "PowByNatural", "FloatPow")
_LONGEST = 10_000
_DEPTH = 50
_BITS = 4096  # of any number on the way; a size has 64
_SYMBOL_BITS = 64


def is_harmless(text: str) -> bool:
    """Whether an expression has numbers, symbols and known functions alone, and none of its numbers gets large."""
    if len(text) > _LONGEST or '"' in text:  # which PyTorch does not write
        return False
    try:
        return _bits(ast.parse(text.strip(), mode="eval").body, 0) <= _BITS
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _bits(node: ast.expr, depth: int) -> float:
    """How long the number that it stands for may be; infinite for what is not known."""
    if depth > _DEPTH:
        return float("inf")
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.Name):
        return _SYMBOL_BITS if _NAMED.fullmatch(node.id) else float("inf")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _bits(node.operand, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Pow):
        parts = [node.left, node.right]
        return _power(parts, depth) if isinstance(node.op, ast.Pow) else sum(_bits(x, depth + 1) + 1 for x in parts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and _CALLED.fullmatch(node.func.id):
        return _call(node, node.func.id, depth)
    return float("inf")


def _call(node: ast.Call, name: str, depth: int) -> float:
    plain = all(
        x.arg in _ASSUMED and isinstance(x.value, ast.Constant) and _constant(x.value.value) <= _SYMBOL_BITS
        for x in node.keywords
    )
    if not plain:
        return float("inf")
    if name == "Symbol":
        given = node.args[0].value if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) else None
        named = isinstance(given, str) and _NAME.fullmatch(given)
        return _SYMBOL_BITS if named else float("inf")
    if name in _POWERS:
        return _power(node.args, depth)
    return sum(_bits(x, depth + 1) + 1 for x in node.args)


def _constant(value: object) -> float:
    if isinstance(value, str):
        return 4.0 * len(value) if _DIGITS.fullmatch(value) else float("inf")
    if isinstance(value, int):
        return value.bit_length() + 1
    return _SYMBOL_BITS if isinstance(value, float) else float("inf")


def _power(parts: list[ast.expr], depth: int) -> float:
    """Of a power: the exponent counts as a number, and has to be a plain one."""
    if len(parts) != 2:
        return float("inf")
    base, exponent = parts
    if isinstance(exponent, ast.Call) and isinstance(exponent.func, ast.Name) and len(exponent.args) == 1:
        exponent = exponent.args[0] if exponent.func.id == "Integer" else exponent
    if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
        exponent = exponent.operand
    if isinstance(exponent, ast.Constant) and isinstance(exponent.value, int | float) and abs(exponent.value) <= 64:
        return _bits(base, depth + 1) * max(1.0, abs(exponent.value)) + 1
    return float("inf")
