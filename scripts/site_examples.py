"""What mkdocstrings does besides, so that a page says all of it.

Examples in docstrings become blocks of code, several names that are described together a line each, and a default that
is a private constant is shown by its value.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a prompt to the next blank line, as doctest reads it.
_EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:^.+\n?)*", re.MULTILINE)

# "    layer, targets: as above.", with the lines that go on.
_TOGETHER = re.compile(r"^    (\w+(?:, \w+)+): (.+(?:\n {8}.*)*)", re.MULTILINE)

_PRIVATE = re.compile(r"_[A-Z_]+")


def _apart(found: re.Match[str]) -> str:
    """A line for each name: as one they would be taken for a name with a type."""
    return "\n".join(f"    {name}: {found[2]}" for name in found[1].split(", "))


class Examples(griffe.Extension):
    """Makes docstrings and defaults readable on the site."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = _TOGETHER.sub(_apart, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        for parameter in func.parameters:
            if _PRIVATE.fullmatch(str(parameter.default)):
                constant = func.module.members.get(str(parameter.default))
                # A number only: what else a constant holds may be long, and its name says more.
                if isinstance(constant, griffe.Attribute) and re.fullmatch(r"[\d_.]+", str(constant.value)):
                    parameter.default = str(constant.value)
