"""Words to people: what goes to a terminal, and how.

Names and labels are strangers' text. They are shown through `Text`, which reads neither markup nor emoji codes, and
without control characters, which a terminal would obey.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gradsight.cli.quiet import take
from gradsight.cli.streams import others_to_stderr, stdout
from gradsight.errors import GradsightError, ImageError, MissingDependency, ModelError, one_line, printable

Item = TypeVar("Item")
Part = str | tuple[str, str]
"""A text, or a text with its style."""

# Letters of a label or an answer on a line of a terminal.
_LONGEST = 120
# Columns: without a terminal, Rich would take 80 and break the rows.
_UNBROKEN = 10_000
# Columns between two of a table.
_GAP = 2
# Not a parameter of `say`: what runs within a command need not hand it down.
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def short(text: str) -> str:
    """A text of a reasonable length."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _assembled(parts: Sequence[Part]) -> Text:
    pairs = [part if isinstance(part, tuple) else (part, "") for part in parts]
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def say(*parts: Part) -> None:
    """Write one line to stdout, never broken, so that paths can be copied."""
    if _quiet.get():
        return
    # A new console each time: a command moves stdout while it runs, and tests do so too.
    Console(file=stdout()).print(_assembled(parts), soft_wrap=True)


def complain(text: str, kind: str = "Error") -> None:
    """Write one line to stderr."""
    # One problem is one line, also where a library's message has several.
    line = " ".join(text.split())
    Console(stderr=True).print(_assembled([(f"{kind}: ", "bold red"), line]), soft_wrap=True)


def say_json(value: Any) -> None:
    """Write one value as one line of JSON to stdout, at once, for whoever reads along."""
    stdout().write(to_json(value) + "\n")
    stdout().flush()


def to_json(value: Any, indent: int | None = None) -> str:
    """Valid JSON in ASCII: NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout; on a terminal its last column folds, elsewhere a row is one line."""
    if _quiet.get():
        return
    console = Console(file=stdout())
    if not console.is_terminal:
        console = Console(file=stdout(), width=_UNBROKEN)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(Text(printable(heading)), overflow="fold", no_wrap=i < len(headings) - 1)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def say_bands(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table whose columns go on in a table below where a terminal is too narrow, the first one repeated."""
    console = Console(file=stdout())
    width = console.width if console.is_terminal else _UNBROKEN
    first, *widths = (max(map(len, column)) + _GAP for column in zip(headings, *rows, strict=True))
    bands: list[list[int]] = [[]]
    for at, own in enumerate(widths):
        # One column at least, however narrow the terminal is.
        if bands[-1] and first + sum(widths[i] for i in bands[-1]) + own > width:
            bands.append([])
        bands[-1].append(at)
    for number, band in enumerate(bands):
        if number:
            say()
        head, *body = ([line[0], *(line[1 + at] for at in band)] for line in (headings, *rows))
        say_table(head, body)


@contextmanager
def mistakes(*, quiet: bool = False) -> Iterator[None]:
    """Turn whatever is raised into one line and a status; what others print meanwhile goes to stderr.

    The status is 1 where it is the photo that cannot be read, else 2.

    Args:
        quiet: say nothing on stdout, and show no bar.
    """
    before = _quiet.set(quiet)
    try:
        with others_to_stderr():
            yield
    # Typer's way to end a command; it is an exception like others, and no failure.
    except typer.Exit:
        raise
    except KeyboardInterrupt as ended:
        raise typer.Exit(getattr(ended, "status", 130)) from ended
    except ImageError as error:
        complain(told(error), "Failed")
        raise typer.Exit(1) from error
    except BaseException as error:  # a model may call sys.exit, or raise what is no Exception
        if SHOW_FAULTS and not isinstance(error, GradsightError):
            raise
        # An error in what was typed needs no remarks: it says itself what is wrong.
        if not isinstance(error, GradsightError) or isinstance(error, ModelError | MissingDependency):
            for remark in take():  # what libraries warned of may be why
                complain(remark, "Note")
        complain(told(error))
        raise typer.Exit(2) from error
    finally:
        _quiet.reset(before)


SHOW_FAULTS = os.environ.get("GRADSIGHT_TRACEBACK", "0") not in ("", "0")
"""Whether what nobody foresaw is raised, to see where it comes from."""


def told(error: BaseException) -> str:
    """An error in words for people, also where it is a library's or a mistake of gradsight's own."""
    if isinstance(error, GradsightError):
        return str(error)
    try:
        said = one_line(error)
    except Exception:  # it cannot even say what it is
        said = "without words"
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {said}. Make --size or --batch-size smaller."
    if isinstance(error, SystemExit):
        return f"the model, or what it runs, calls sys.exit({said}), which ends a process. Have it return, or raise."
    return (
        f"{type(error).__name__}: {said}. Nobody foresaw this: please report it, with what GRADSIGHT_TRACEBACK=1 in "
        "the environment shows."
    )


def progress(outcomes: Iterable[Item], total: int) -> Iterator[Item]:
    """Hand on ``outcomes``, with a bar on stderr while each is made: for more than one, and on a terminal only.

    The bar is away while the receiver works, because what that writes may go to the same terminal.
    """
    console = Console(stderr=True)
    if total < 2 or _quiet.get() or not console.is_terminal:
        yield from outcomes
        return
    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=total)
    iterator = iter(outcomes)
    # By hand and not by a `for`, so that the bar is there only while the next one is made.
    for _ in range(total):
        with bar:
            item = next(iterator)
        bar.advance(task)
        yield item


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Say on a terminal's stderr what is waited for, and take it away afterwards."""
    console = Console(stderr=True)
    if _quiet.get() or not console.is_terminal:
        yield
        return
    with console.status(words):
        yield
