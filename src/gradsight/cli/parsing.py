"""What the texts of options mean."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.limits import INPUT_PIXELS
from gradsight.rules import Each, Number, Sides

if TYPE_CHECKING:
    from gradsight.registry import Method

PICTURES = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpg", ".webp": ".webp"}
"""The endings of pictures that are written, and what each is called here."""


def path(text: str | Path) -> Path:
    """A path as it is given: Typer would end the command for one photo that cannot be read.

    Raises:
        BadParameter: it is empty, as where a variable of the shell is not set; Path takes that for the current folder.
    """
    if not str(text):
        raise typer.BadParameter("a path must not be empty.")
    return Path(text)


def methods(names: Sequence[str]) -> list[Method]:
    """Methods by name, variants included, each once.

    Raises:
        GradsightError: there is no such method or option, or the name cannot be read.
    """
    # Here, since it imports NumPy, which `--help` does not wait for.
    from gradsight.variants import as_method

    # By their full names: gradcam and gradcam() are one, smooth(gradcam) is another.
    by_name = {method.name: method for method in map(as_method, names)}
    return list(by_name.values())


def split(text: str) -> list[str]:
    """``"gradcam, fuse(layercam, by='max')"`` at the commas outside of brackets.

    >>> split("gradcam, fuse(layercam, by='max')")
    ['gradcam', "fuse(layercam, by='max')"]
    """
    # Not str.split: options of a method have commas too.
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    named = [part.strip() for part in parts if part.strip()]
    # ", " names nothing, though something was typed: to take the default would hide that.
    if text and not named:
        raise InvalidArgument(f"a list with commas must hold something. {received(text)} Leave it out.")
    return named


def argument(text: str) -> tuple[str, object]:
    """``"depth=3"`` to ("depth", 3). A value is read as Python: a number, truth value, None, list or quoted text.

    Any other value is a text as it stands.

    >>> argument("depth=3"), argument("name=x")
    (('depth', 3), ('name', 'x'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise InvalidArgument(f"--arg must be name=value. {received(text)} Pass --arg depth=3.")
    # As shells and configuration files write them; literal_eval knows only Python's spelling.
    words = {"true": True, "false": False, "none": None}
    try:
        return name.strip(), words[value.lower()] if value.lower() in words else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # such as {[]: 1}
        return name.strip(), value


def sides(text: str | None, option: str) -> tuple[int, ...] | None:
    """``"240x320"`` to (240, 320), and ``"224"`` to (224, 224)."""
    if text is None:
        return None
    # Not isdigit, which is true of "²" too, and fewer than 10 digits, since `int` refuses thousands of them. What is
    # no number stays a text, so that the error shows what was typed.
    parts = [int(part) if part.isdecimal() and len(part) < 10 else text for part in re.split("[xX×]", text.strip())]
    way_out = f"Pass {option} 14 or {option} 12x16."
    height, width = taken(option, parts if len(parts) > 1 else parts[0], Sides(), way_out)
    INPUT_PIXELS.check(height * width, f"{option} {text} is too large: {height * width:,} pixels")
    return height, width


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """``"0.5,0.5,0.5"`` as numbers."""
    parts = None if text is None else [number(part) for part in text.split(",")]
    rule = Each(Number(), (1, 3), "one number (grey) or three (RGB)")
    return optional(option, parts, rule, f"Pass {option} 0.5 or {option} 0.5,0.5,0.5.")


def number(text: str) -> str | float:
    """The number that a text says, or the text itself where it says none."""
    try:
        return float(text)
    except ValueError:
        return text


def positions(text: str | None, option: str, count: int) -> tuple[float, ...] | None:
    """``"20,60,52,100"`` as that many numbers."""
    if text is None:
        return None
    # findall skips what it does not know; the comparison sees that nothing was skipped.
    read = re.findall(r"-?\d+(?:\.\d+)?", text)
    if len(read) != count or ",".join(read) != text.replace(" ", ""):
        example = ",".join(str(10 * (i + 1)) for i in range(count))
        raise InvalidArgument(f"{option} must be {count} numbers. {received(text)} Pass {option} {example}.")
    return tuple(map(float, read))
