"""How far a run or an audit has come, told meanwhile: a bar on a terminal, plain lines in a log, JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from gradsight.auditing.progress import Progress as Audited
from gradsight.auditing.progress import listening
from gradsight.cli.terminal import say_json
from gradsight.runs.progress import Progress as Now

_EVERY = 10.0
"""Seconds between two lines of a log."""

Tell = Callable[[Now], None]


@dataclass(frozen=True)
class Shown:
    """How far something has come.

    Attributes:
        words: it in words.
        done: how much is done.
        total: of how much; None where nobody knows.
    """

    words: str
    done: int
    total: int | None


Show = Callable[[Shown], None]


@contextmanager
def told(*, as_json: bool) -> Iterator[Tell]:
    """What tells how far a run has come.

    Args:
        as_json: print a line of JSON on stdout for each part that is written; what is for people is on stderr.
    """
    with _shown("the first photos are tried") as show:

        def all_of_it(now: Now) -> None:
            if as_json and now.part is not None:
                say_json(_record(now))
            show(Shown(words(now), now.before + now.done, now.total))

        yield all_of_it


@contextmanager
def audits_told() -> Iterator[None]:
    """Tell on stderr how far audits have come that are made within."""
    with _shown("looking at what is there") as show:

        def tell(now: Audited) -> None:
            show(Shown(audit_words(now), now.tried, now.suspects or None))

        with listening(tell):
            yield


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


def audit_words(now: Audited) -> str:
    """How far an audit has come, in words.

    >>> audit_words(Audited(suspects=6, tried=2, passes=4210, seconds=30))
    '2 of 6 suspects tested, 4,210 changed photos shown to the model, 1 min left'
    """
    parts = [f"{now.tried} of {now.suspects} suspects tested"] if now.suspects else []
    parts.append(f"{now.passes:,} changed photos shown to the model")
    # Afterwards the background is tried, for a while that nobody knows.
    if now.left:
        parts.append(f"{span(now.left)} left")
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
def _shown(first: str) -> Iterator[Show]:
    """What shows progress on stderr: a bar where that is a terminal, else a line now and then."""
    console = Console(stderr=True)
    with _bar(console, first) if console.is_terminal else _log(console) as show:
        yield show


@contextmanager
def _bar(console: Console, first: str) -> Iterator[Show]:
    columns = BarColumn(), TextColumn("{task.description}")
    # Without a thread of its own, which would keep copies of this process from being made (`runs.engines.forked`).
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(first, total=None)
        bar.refresh()

        def show(now: Shown) -> None:
            bar.update(task, total=now.total, completed=now.done, description=now.words, refresh=True)

        yield show


@contextmanager
def _log(console: Console) -> Iterator[Show]:
    last = time.monotonic()

    def show(now: Shown) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            console.print(now.words, markup=False, highlight=False, soft_wrap=True)

    yield show


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
