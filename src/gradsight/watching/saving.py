"""Frames with their heat, drawn and written by threads while others are explained."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from PIL import Image

from gradsight.checks import optional, taken
from gradsight.closing import Closing
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.imaging import MAX_SIDE, Paint
from gradsight.imaging.write import DEFAULT_QUALITY, QUALITY
from gradsight.photos import Failed
from gradsight.rules import Name, Number
from gradsight.watching.frame import Frame, Shot
from gradsight.watching.picture import Look, drawn
from gradsight.watching.sinks import Form, Opener, opener_of

_THREADS = 2
"""That draw. More of them take the processors from the model."""

_WAITING = 8
"""Frames that are on their way from the model to the file."""

_RATE = 10.0
"""Frames a second, where the source has no times."""

RATE = Number(above=0, most=1000)


class Drawing(TypedDict, total=False):
    """How frames are drawn and written.

    Attributes:
        colormap: as in `Explanation.overlay`.
        opacity: as in `Explanation.overlay`.
        max_side: the most pixels that the longer side of a frame has.
        rate: frames a second, where the source has no times: folders, generators. 10 by default.
        quality: from 1 to 100; 90 by default.
    """

    colormap: str | None
    opacity: str | float
    max_side: int | None
    rate: float
    quality: int


@dataclass
class Saved:
    """What was written.

    Attributes:
        path: where; a folder, or a file.
        frames: how many.
        failed: how many could not be read or explained, or that the video was cut off.
        over: how many frames were stronger than the scale that they are drawn by.
        seconds: when the last frame is shown.
    """

    path: Path
    frames: int = 0
    failed: int = 0
    over: int = 0
    seconds: float = 0.0


class Saving(Closing[Frame | Failed[Shot]]):
    """Frames on their way into a file or a folder: each is given back when it is written, in their order.

    However it ends, by an error, Ctrl-C or `close`, what was written until then is kept.

    Args:
        frames: what is written.
        path: where to.
        **drawing: see `Drawing`.

    Attributes:
        done: what was written up to now.

    Raises:
        InvalidArgument: it cannot be written there, or a value breaks a rule.
        MissingDependency: PyAV is not installed.
    """

    def __init__(
        self, frames: Iterable[Frame | Failed[Shot]], path: str | os.PathLike[str], **drawing: Unpack[Drawing]
    ) -> None:
        for word in drawing:
            if word not in Drawing.__annotations__:
                raise InvalidType(f"there is no argument `{word}`. There are: {', '.join(Drawing.__annotations__)}.")
        self.done = Saved(Path(taken("path", path, Name())))
        # All of it now: a mistake in an option would else show after the first batch.
        colormap, opacity = drawing.get("colormap"), drawing.get("opacity", "value")
        paint = Paint(opacity=opacity) if colormap is None else Paint(colormap, opacity)
        self._look: Look = {"colormap": colormap, "opacity": paint.opacity}
        self._max_side = optional("max_side", drawing.get("max_side"), MAX_SIDE, "Pass 1024.")
        self._rate = taken("rate", drawing.get("rate", _RATE), RATE, "Pass 25.")
        quality = taken("quality", drawing.get("quality", DEFAULT_QUALITY), QUALITY, "Pass 90.")
        self._open = opener_of(self.done.path, Form(self._rate, quality))
        self._frames = frames
        super().__init__(self._run())

    def _run(self) -> Generator[Frame | Failed[Shot], None, None]:
        ended: BaseException | None = None
        with _Line(self._open, self._drawn) as line:
            try:
                for frame in self._frames:
                    line.put(frame, self._time(frame))
                    while len(line.waiting) > _WAITING:
                        yield self._written(line)
                while line.waiting:
                    yield self._written(line)
            # What is finished is kept whatever ended it, Ctrl-C too, and then that goes on.
            except BaseException as error:
                ended = error
                while line.waiting:
                    self._written(line)
            if not self.done.frames:
                raise ended or self._nothing()
        if ended is not None:
            raise ended

    def _nothing(self) -> InvalidArgument:
        return InvalidArgument(
            f"{str(self.done.path)!r} must get a frame at least, and there is none: {self.done.failed} failed. Pass "
            "another video."
        )

    def _drawn(self, frame: Frame) -> Image.Image:
        return drawn(frame, self._look, self._max_side)

    def _time(self, frame: Frame | Failed[Shot]) -> float:
        if isinstance(frame, Failed):
            return 0.0
        # Those of a folder are evenly apart.
        return frame.index / self._rate if frame.time is None else frame.time

    def _written(self, line: _Line) -> Frame | Failed[Shot]:
        frame, writing = line.waiting.popleft()
        if isinstance(frame, Failed) or writing is None:
            # Counted here and not where it is put in, so that counts are of what has been given back.
            self.done.failed += 1
            return frame
        writing.result()
        self.done.frames += 1
        self.done.over += frame.strength > 1
        self.done.seconds = self._time(frame)
        return frame


class _Line:
    """Frames that threads draw, side by side, and one thread writes, in their order.

    Args:
        opener: opens what is written to.
        draw: makes the picture of a frame.

    Attributes:
        waiting: what was put in and is not asked for yet, with its writing; None beside a frame that failed.
    """

    def __init__(self, opener: Opener, draw: Callable[[Frame], Image.Image]) -> None:
        self.waiting: deque[tuple[Frame | Failed[Shot], Future[None] | None]] = deque()
        self._opener, self._draw = opener, draw
        self._drawing = ThreadPoolExecutor(_THREADS, "gradsight-drawing")
        self._writing = ThreadPoolExecutor(1, "gradsight-writing")

    def __enter__(self) -> Self:
        self._open = ExitStack()
        # Left in the other order: the file is closed first, while the threads are idle, and they end whatever comes.
        self._open.enter_context(self._drawing)
        self._open.enter_context(self._writing)
        self._add = self._open.enter_context(self._opener())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def put(self, frame: Frame | Failed[Shot], time: float) -> None:
        """Have a frame drawn and written, shown from a time on."""
        if isinstance(frame, Failed):
            self.waiting.append((frame, None))
            return
        # Drawing lets go of Python's lock for most of its time, and so goes on beside the model.
        picture = self._drawing.submit(self._draw, frame)
        self.waiting.append((frame, self._writing.submit(lambda: self._add(picture.result(), time))))
