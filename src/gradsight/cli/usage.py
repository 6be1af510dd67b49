"""How the commands are run: a mistake in the usage is one line, whatever is in it, and the status tells the rest."""

from __future__ import annotations

import re
import sys
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup

from gradsight.cli.options import MODEL, PICTURE, RESULT, WHAT
from gradsight.cli.streams import unsaid
from gradsight.cli.terminal import complain

# Typer has a copy of Click inside, or uses the one that is installed: its errors are of one or the other.
_Mistake = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

# Of those without a title, such as --help.
_OTHERS = "Other options"
_ARGUMENTS = "Arguments"
_TITLES = (_ARGUMENTS, WHAT.title, RESULT.title, MODEL.title, PICTURE.title, _OTHERS)
"""Of the help, in their order: what most people ask for comes first."""

_COLUMN = 26
"""The widest that the names of options may be, for what they mean to begin on the same line."""


_RANGE = re.compile(r"  \[(?:\d+<=)?x[<>]=\d+\]|; (?:\d+<=)?x[<>]=\d+(?=\])")
"""The range of a number as formula, ``[x>=1]``: words and the error say it better."""


def _told(argument: Any) -> tuple[str, str]:
    """An argument and what it means; Typer's own words have a Python type behind the name, ``<list[Path]>``."""
    return argument.metavar or argument.name or "", getattr(argument, "help", None) or ""


def _order(title: str) -> int:
    return _TITLES.index(title) if title in _TITLES else len(_TITLES)


class Command(TyperCommand):
    """A command that refuses empty values: they come from variables of the shell that are not set."""

    def make_context(self, *args: Any, **extra: Any) -> typer.Context:
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
        return cast(typer.Context, context)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The arguments as they are typed; some versions of Typer put those that are needed in braces."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options under the titles of their panels. Plain text: its words are not broken to fit a table."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:  # a hidden one
                continue
            title = getattr(parameter, "rich_help_panel", None) or _OTHERS
            if parameter.param_type_name == "argument":
                title, record = _ARGUMENTS, _told(parameter)
            name, text = record
            sections.setdefault(title, []).append((name, _RANGE.sub("", text)))
        for title in sorted(sections, key=_order):
            with formatter.section(title):
                formatter.write_dl(sections[title], col_max=_COLUMN)


class Commands(TyperGroup):
    """The commands of `gradsight`."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run one, and end with its status: 0 done, 1 some images failed, 2 wrong usage, over 128 ended by a signal."""
        # Typer would print errors in boxes of its own, and end the process itself.
        extra["standalone_mode"] = False
        try:
            done = super().main(*args, **extra)
        except _Mistake as mistake:  # type: ignore[misc]
            done = 2
            text = mistake.format_message().strip()
            if type(mistake).__name__ == "NoArgsIsHelpError":
                # Nothing was typed: this text is the whole help, which stays in its lines.
                typer.echo(text, err=True)
            elif text:
                # An error that is raised outside of a command has no context.
                context = getattr(mistake, "ctx", None)
                command = context.command_path if context is not None else "gradsight"
                complain(f"{text if text[-1] in '.?' else f'{text}.'} See {command} --help")
        except typer.Abort:
            # Click makes this of Ctrl-C where no command runs yet.
            done = 1
        # A callback such as --version gives no number.
        status = done if isinstance(done, int) else 0
        # Wrong usage (2) is told on stderr alone: of that nothing was lost.
        if status < 2 and (why := unsaid()) is not None:
            complain(f"stdout cannot be written: {why}.", "Failed" if status else "Error")
            status = 1
        sys.exit(status)
