"""The parts of a command's help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Panel:
    """A part of the help, under a title of its own."""

    title: str

    def option(self, *names: str, **about: Any) -> object:
        """An option in it; arguments are those of `typer.Option`."""
        return typer.Option(*names, rich_help_panel=self.title, **about)


WHAT, MODEL = Panel("What is explained"), Panel("The model")
PICTURE, RESULT = Panel("The picture as the model gets it"), Panel("The result")
