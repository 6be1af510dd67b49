"""A video on its way: how far it has come, what failed, and what is seen meanwhile in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from gradsight.cli.options import ReplyOptions
from gradsight.cli.preview import blocks, cells, unfit
from gradsight.cli.streams import stdout
from gradsight.cli.terminal import complain, say, say_json
from gradsight.cli.terminal import told as in_words
from gradsight.cli.viewing import made
from gradsight.photos import Failed
from gradsight.watching.frame import Frame
from gradsight.watching.saving import Drawing, Saved, Saving
from gradsight.watching.watch import Watching

_NAMED = 20
"""So many frames that failed are named; the others are counted."""

_EVERY = 0.25
"""Seconds between two pictures in the terminal."""

_SMALL = 320
"""Pixels of a frame there: a terminal has no more cells than that."""

Show = Callable[[Frame], None]


def told(
    frames: Watching, path: Path, drawing: Drawing, *, limit: int | None, preview: bool, reply: ReplyOptions
) -> int:
    """Write the frames of a video, and tell of it.

    Args:
        frames: what is written.
        path: where to.
        drawing: how.
        limit: end after so many.
        preview: show frames in the terminal meanwhile.
        reply: whether stdout is for people or for programs.

    Returns:
        The exit status: 1 where a frame failed.
    """
    saving, start = Saving(islice(frames, limit), path, **drawing), time.monotonic()
    try:
        with frames, _shown(preview=preview) as show:
            _gone_through(saving, show, as_json=reply.as_json)
    except KeyboardInterrupt:
        # What is on its way is written first.
        saving.close()
        # Of a camera it is the only end there is.
        if not (saving.done.frames and frames.source.is_live):
            _finish(saving.done, frames, start, reply)
            raise
    _finish(saving.done, frames, start, reply)
    return 1 if saving.done.failed else 0


def _gone_through(saving: Saving, show: Show, *, as_json: bool) -> None:
    for frame in saving:
        if isinstance(frame, Failed):
            if saving.done.failed <= _NAMED:
                complain(in_words(frame.error), "Failed")
        else:
            show(frame)
            if as_json:
                say_json(_record(frame))


def _finish(done: Saved, frames: Watching, start: float, reply: ReplyOptions) -> None:
    if done.failed > _NAMED:
        complain(f"{done.failed - _NAMED} frames more.", "Failed")
    if not done.frames:
        return
    made(done.path, whole=True)
    if frames.dropped:
        complain(f"{frames.dropped} frames of {frames.source.name} were left out while the model was busy.", "Note")
    if done.over:
        complain(
            f"{done.over} of {done.frames} frames were stronger than the scale, and are drawn as hot as can be. "
            "--scale takes a number, or running.",
            "Note",
        )
    if not reply.as_json:
        rate = done.frames / max(time.monotonic() - start, 1e-9)
        say(f"{done.frames} frames, {rate:.1f} a second. Look at ", (str(done.path), "bold cyan"))


def _record(frame: Frame) -> dict[str, Any]:
    record = frame.explanation.in_shell().record().to_dict()
    return {"frame": frame.index, "time": frame.time, "scale_of_video": frame.scale, **record}


@contextmanager
def _shown(*, preview: bool) -> Iterator[Show]:
    """What shows frames: in the terminal, one in the place of the other; else how many there are, on stderr."""
    if not preview:
        with _counted() as show:
            yield show
        return
    console = Console(file=stdout())
    why = unfit(console)
    if why is not None:
        complain(why, "Note")
        yield lambda _: None
        return
    # In blocks, whatever the terminal can: pictures in its own graphics would pile up in its memory.
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def draw(frame: Frame) -> None:
            picture = frame.overlay(max_side=_SMALL)
            live.update(blocks(picture, *cells(picture, console)), refresh=True)

        yield _seldom(draw)


@contextmanager
def _counted() -> Iterator[Show]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("the first frames are explained") as status:
        yield _seldom(lambda frame: status.update(f"frame {frame.index}"))


def _seldom(show: Show) -> Show:
    """The same a few times a second: more would only take time from the model."""
    last = 0.0

    def some(frame: Frame) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            show(frame)

    return some
