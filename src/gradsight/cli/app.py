"""The commands of `gradsight` together. Not called ``main``: a module of that name would hide the function."""

from __future__ import annotations

from typing import Annotated

import typer

import gradsight as gs
from gradsight.cli.commands.app import app as page
from gradsight.cli.commands.ask import ask
from gradsight.cli.commands.audit import audit
from gradsight.cli.commands.caption import caption
from gradsight.cli.commands.compare import compare
from gradsight.cli.commands.demo import demo
from gradsight.cli.commands.evaluate import evaluate
from gradsight.cli.commands.explain import explain
from gradsight.cli.commands.layers import layers
from gradsight.cli.commands.merge import merge
from gradsight.cli.commands.methods import methods
from gradsight.cli.commands.metrics import metrics
from gradsight.cli.commands.models import models
from gradsight.cli.commands.neurons import neurons
from gradsight.cli.commands.recommend import recommend
from gradsight.cli.commands.report import report
from gradsight.cli.commands.run import run
from gradsight.cli.commands.show import show
from gradsight.cli.commands.similar import similar
from gradsight.cli.commands.watch import watch
from gradsight.cli.streams import need_stdout
from gradsight.cli.terminal import mistakes, say
from gradsight.cli.usage import Command, Commands

app = typer.Typer(
    name="gradsight",
    cls=Commands,
    help="Shows what a vision model looked at when it decided.",
    epilog="Start with: gradsight demo",
    no_args_is_help=True,
    # What GRADSIGHT_TRACEBACK shows is Python's own traceback, not one that Typer draws.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # `usage` lays out the help
)


def _version(wanted: bool) -> None:
    if wanted:
        # A callback runs before the command, whose own `mistakes` does not hold yet.
        with mistakes():
            need_stdout("--version")
        say(f"gradsight {gs.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    # Typer has called `_version` already; the parameter is here only so that there is such an option.
    del version


# The help lists them in this order: what a newcomer types first comes first.
for _entry in (
    demo,
    explain,
    compare,
    watch,
    evaluate,
    recommend,
    run,
    show,
    merge,
    audit,
    report,
    page,
    neurons,
    caption,
    ask,
    similar,
    layers,
    methods,
    metrics,
    models,
):
    app.command(name=_entry.name, cls=Command, short_help=_entry.summary, epilog=f"Example: {_entry.example}")(
        _entry.run
    )
