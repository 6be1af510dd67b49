"""Frames of an open video: decoded, upright, in their order; and what of it could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING

from PIL import Image

from gradsight.errors import ImageError, MissingDependency, one_line
from gradsight.limits import PIXELS
from gradsight.photos import Failed
from gradsight.watching.frame import Shot

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}

_ASPECTS = (Fraction(1, 4), Fraction(4))
"""Of pixels. What claims more than that is a mistake, and would make a picture of any size."""

_MOST_OF_IT = 0.8
"""Where the last frame is shown before that share of the time that a video claims, the rest is missing."""

_FEWER = 2
"""A video says how many frames it has in its head; that there is one fewer is how some encoders count."""


def needed() -> ModuleType:
    """PyAV.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency("videos need PyAV. Install it: pip install 'gradsight[video]'.") from error
    return av


@dataclass
class _Read:
    """How far a video was read.

    Attributes:
        frames: how many there were.
        first: when the first is shown, in units of the stream.
        last: when the last is shown, in seconds after that.
        longest: how long one was shown at most, in seconds.
        damage: what a decoder said of what it could not read.
    """

    frames: int = 0
    first: int | None = None
    last: float = 0.0
    longest: float = 0.0
    damage: str | None = None

    def time_of(self, frame: VideoFrame, base: Fraction) -> float | None:
        """When a frame is shown, in seconds after the first one."""
        # Some formats say no times; then frames have numbers alone.
        if frame.pts is None:
            return None
        self.first = frame.pts if self.first is None else self.first
        time = float((frame.pts - self.first) * base)
        self.longest, self.last = max(self.longest, time - self.last), time
        return time

    def is_cut_off(self, container: InputContainer, stream: VideoStream) -> bool:
        """Whether less was read than the video says that it has."""
        if self.damage is not None:
            return True
        # A number is surer than a time: the last frame may be shown for as long as anybody likes.
        if stream.frames:
            return self.frames + _FEWER <= stream.frames
        # The last frame may stay as long as any other.
        return self.frames > 1 and self.last + self.longest < _MOST_OF_IT * _seconds(container, stream)


def decoded(
    container: InputContainer, stream: VideoStream, name: str, *, is_live: bool
) -> Iterator[Shot | Failed[Shot]]:
    """All frames of a stream, and a `Failed` at the end where some are missing."""
    read, wider = _Read(), aspect(stream)
    for frame in _frames(container, stream, read):
        shot = Shot(read.frames, read.time_of(frame, stream.time_base or Fraction(1, 1000)), name)
        read.frames += 1
        yield _shot(frame, shot, wider)
    if read.damage or (not is_live and read.is_cut_off(container, stream)):
        yield Failed(Shot(read.frames, None, name), ImageError(_cut_off(name, read, stream.frames)))


def _frames(container: InputContainer, stream: VideoStream, read: _Read) -> Iterator[VideoFrame]:
    """All frames that can be decoded."""
    av = needed()
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:  # this packet alone: the next may be whole
                read.damage = reason(error)
            else:
                yield from frames
    except av.error.FFmpegError as error:
        read.damage = reason(error)


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the pictures of a video are, as it says itself; 0 where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Of all that is in it: sound may go on after the last picture.
    alone = len(container.streams) == 1 and container.duration
    return container.duration / 1_000_000 if alone and container.duration else 0.0


def _shot(frame: VideoFrame, shot: Shot, aspect: Fraction) -> Shot | Failed[Shot]:
    # Decoders repair what they can, and a model would be explained on what they made up.
    if frame.is_corrupt:
        return Failed(shot, ImageError(f"{shot} of {shot.source!r} is damaged, and left out."))
    # A stream may change its size on the way.
    check_size(frame.width, frame.height, str(shot.source))
    return Shot(shot.index, shot.time, upright(frame, aspect))


def upright(frame: VideoFrame, aspect: Fraction) -> Image.Image:
    """A frame as it is to be seen: in RGB, with square pixels, turned as the video says.

    Args:
        frame: as it was decoded.
        aspect: how much wider than high its pixels are.
    """
    # One of both sides alone is changed, so that no pixel is resized twice.
    width = max(1, round(frame.width * aspect))
    picture: Image.Image = frame.to_image(width=width, height=frame.height)  # type: ignore[no-untyped-call]
    # What a phone films upright is stored lying, with a note of how it is to be turned.
    turn = _TURNS.get(round(frame.rotation) % 360)
    return picture if turn is None else picture.transpose(turn)


def aspect(stream: VideoStream) -> Fraction:
    """How much wider than high the pixels are; a file may say what cannot be."""
    given = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return given if given and _ASPECTS[0] <= given <= _ASPECTS[1] else Fraction(1)


def reason(error: Exception) -> str:
    """Why it failed, in the words of the system or of FFmpeg."""
    return getattr(error, "strerror", None) or one_line(error)


def _cut_off(name: str, read: _Read, total: int) -> str:
    of = f" of {total}" if total > read.frames else ""
    why = f" ({read.damage})" if read.damage else ""
    return f"{name!r} is damaged or cut off{why}: {read.frames}{of} frames could be read, which are done."


def check_size(width: int, height: int, name: str) -> None:
    """Check that pictures are no larger than is allowed."""
    PIXELS.check(width * height, f"{name!r} is too large: {width} x {height} pixels", ImageError)
