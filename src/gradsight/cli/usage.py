"""How the commands are run: a mistake in the usage is one line, whatever is in it, and the status tells the rest."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gradsight.cli.streams import unsaid
from gradsight.cli.terminal import complain

# Typer has a copy of Click inside, or uses the one that is installed: its errors are of one or the other.
_Mistake = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Command(TyperCommand):
    """A command whose values are never empty: that is what a variable of the shell gives which is not set."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse the arguments.

        Raises:
            BadParameter: one is empty.
        """
        context = super().make_context(*args, **extra)
        parameters: list[Any] = self.params
        for parameter in parameters:
            value = context.params.get(parameter.name or "")
            if "" in (value if isinstance(value, list | tuple) else [value]):
                raise typer.BadParameter("must not be empty. Leave it out.", ctx=context, param=parameter)
        return context


class Commands(TyperGroup):
    """The commands of `gradsight`."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run one, and end with its status: 0 done, 1 some images failed, 2 wrong usage, over 128 ended by a signal."""
        extra["standalone_mode"] = False
        try:
            done = super().main(*args, **extra)
        except _Mistake as mistake:  # type: ignore[misc]
            done = 2
            if text := mistake.format_message().strip():  # of no arguments the help was shown instead
                context = getattr(mistake, "ctx", None)
                command = context.command_path if context is not None else "gradsight"
                complain(f"{text if text[-1] in '.?' else f'{text}.'} See {command} --help")
        except typer.Abort:
            done = 1
        status = done if isinstance(done, int) else 0
        if status < 2 and (why := unsaid()) is not None:
            complain(f"stdout cannot be written: {why}.", "Failed" if status else "Error")
            status = 1
        sys.exit(status)
