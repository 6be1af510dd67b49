"""How far a run has come, told while it runs: a bar on a terminal, plain lines in a log, JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from gradsight.cli.terminal import say_json
from gradsight.runs.progress import Progress as Now

_EVERY = 10.0
"""Seconds between two lines of a log."""

Tell = Callable[[Now], None]


@contextmanager
def told(*, as_json: bool) -> Iterator[Tell]:
    """What tells how far a run has come.

    Args:
        as_json: print a line of JSON on stdout for each part that is written; what is for people is on stderr.
    """
    console = Console(stderr=True)
    show = _bar if console.is_terminal else _log
    with show(console) as tell:

        def all_of_it(now: Now) -> None:
            if as_json and now.part is not None:
                say_json(_record(now))
            tell(now)

        yield all_of_it


def words(now: Now) -> str:
    """How far a run has come, in words.

    >>> words(Now(total=1200, before=0, done=300, failed=2, rate=15.0))
    '300 of 1,200 photos, 15.0 a second, 1 min left, 2 failed'
    """
    done = now.before + now.done
    parts = [f"{done:,} of {now.total:,} photos" if now.total is not None else f"{done:,} photos"]
    if now.rate:
        parts.append(f"{now.rate:,.1f} a second")
    if now.left is not None:
        parts.append(f"{span(now.left)} left")
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """A time in words.

    >>> span(42), span(600), span(90000)
    ('42 s', '10 min', '25 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        # The larger unit only where it says enough: "1 h" for 100 minutes would be half of it wrong.
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def _bar(console: Console) -> Iterator[Tell]:
    columns = BarColumn(), TextColumn("{task.description}")
    # Without a thread of its own, which would keep copies of this process from being made (`runs.engines.forked`).
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("the first photos are tried", total=None)
        bar.refresh()

        def tell(now: Now) -> None:
            _advance(bar, task, now)

        yield tell


def _advance(bar: Progress, task: TaskID, now: Now) -> None:
    bar.update(task, total=now.total, completed=now.before + now.done, description=words(now), refresh=True)


@contextmanager
def _log(console: Console) -> Iterator[Tell]:
    last = time.monotonic()

    def tell(now: Now) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            console.print(words(now), markup=False, highlight=False, soft_wrap=True)

    yield tell


def _record(now: Now) -> dict[str, Any]:
    return {
        "part": now.part,
        "rows": now.rows,
        "done": now.before + now.done,
        "total": now.total,
        "failed": now.failed,
        "rate": round(now.rate, 3),
        "left": None if now.left is None else round(now.left, 1),
    }
